"""``@kernel`` and the objects that a module of kernel Python is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mkold.base.errors import InputError
from mkold.ir.edit import rename_calls
from mkold.ir.layout import Layout
from mkold.ir.nodes import (
    BINARY,
    WORD_MASK,
    Binary,
    Const,
    Expr,
    Function,
    Param,
    Unary,
)
from mkold.ir.prims import Prim
from mkold.lang.types import Struct, Type


@dataclass(frozen=True, slots=True)
class Primitive:
    """A row of ``ir.prims`` as a name to import."""

    row: Prim

    def __call__(self, *_: object) -> NoReturn:
        raise InputError(f"{self.row.name} is a primitive: use it in a @kernel function")

    def __repr__(self) -> str:
        return self.row.name


@dataclass(frozen=True, slots=True)
class Special:
    """A word of the language that is no primitive: ``addr``, ``cast``, ``call_rcu``."""

    name: str

    def __call__(self, *_: object) -> NoReturn:
        raise InputError(f"{self.name} has a meaning in @kernel functions only")

    def __repr__(self) -> str:
        return self.name


class KernelFunction:
    """A checked and lowered kernel function.

    Attributes
    ----------
    name : its name in the source
    key : ``module:name``, by which the lowered form refers to it
    params, results : types of the parameters and of the results
    callees : the functions it calls or hands to ``call_rcu``, by key
    parameters : the build parameters it uses, and their defaults
    """

    is_hook = False

    def __init__(
        self,
        wrapped: Callable[..., Any],
        lowered: Function,
        params: tuple[Type, ...],
        results: tuple[Type, ...],
        callees: dict[str, KernelFunction],
        parameters: Mapping[str, int],
        structs: Iterable[type[Struct]],
    ) -> None:
        self.__wrapped__ = wrapped
        self.__doc__ = wrapped.__doc__
        self.name: str = wrapped.__name__
        self.key = lowered.name
        self.lowered, self.params, self.results = lowered, params, results
        self.callees, self.parameters = callees, parameters
        self._structs = tuple(structs)

    @property
    def signature(self) -> str:
        """Types of parameters and results."""
        results = self.results[0] if len(self.results) == 1 else _listed(self.results)
        return f"{_listed(self.params)} -> {results}"

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The structs it uses; laid out now, when every type they name is defined."""
        return tuple(struct.layout for struct in self._structs)

    @property
    def definition(self) -> KernelFunction:
        """Itself; for a declared function, what it stands for."""
        return self

    @property
    def ir(self) -> Function:
        """The function in the intermediate form, callees under their short names."""
        calls = {label: callee.name for label, callee in self.callees.items()}
        return rename_calls(self.lowered, self.name, calls)

    def __call__(self, *_: object) -> Any:
        raise InputError(
            f"{self.name} is a kernel function: build it with mkold.native and call the image"
        )

    def __repr__(self) -> str:
        return f"<kernel function {self.key}>"


class Hook(KernelFunction):
    """A signature that somebody else defines; bound when a module is collected."""

    is_hook = True

    def __repr__(self) -> str:
        return f"<hook {self.key}>"


def hook(function: Callable[..., Any]) -> Hook:
    """Declare a function that an architecture, say, defines: a signature and a docstring.

    ``ir.module.collect(..., hooks={name: definition})`` says what it stands for.

    Raises
    ------
    SourceError : the signature is outside kernel Python, or there is a body
    """
    from mkold.lang.lower import lower_hook

    return lower_hook(function)


def _listed(types: tuple[Type, ...]) -> str:
    return f"({', '.join(map(str, types))})"


def kernel(function: Callable[..., Any]) -> KernelFunction:
    """Check ``function`` against kernel Python and lower it.

    Raises
    ------
    SourceError : something in it is outside the subset
    """
    from mkold.lang.lower import lower

    return lower(function)


class Parameter:
    """A build-time constant, or arithmetic on such; see ``parameter``.

    ``defaults`` are those of the parameters in ``expr``, by name.
    """

    __slots__ = ("defaults", "expr")
    __hash__ = None  # type: ignore[assignment]  # equality builds an expression

    def __init__(self, expr: Expr, defaults: Mapping[str, int]) -> None:
        self.expr, self.defaults = expr, defaults

    def __bool__(self) -> NoReturn:
        raise InputError("a build parameter has no value until the build; test it in @kernel")

    __int__ = __index__ = __bool__

    def __repr__(self) -> str:
        from mkold.ir.text import expr_text

        return expr_text(self.expr)

    def __invert__(self) -> Parameter:
        return Parameter(Unary("not", self.expr), self.defaults)

    def __neg__(self) -> Parameter:
        return Parameter(Unary("neg", self.expr), self.defaults)


_OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "floordiv": "udiv", "mod": "umod",
    "and": "and", "or": "or", "xor": "xor", "lshift": "shl", "rshift": "lshr",
    "eq": "eq", "ne": "ne", "lt": "ult", "le": "ule",
}  # fmt: skip


def _operand(value: object) -> Parameter | None:
    if isinstance(value, Parameter):
        return value
    if isinstance(value, int):
        return Parameter(Const(value & WORD_MASK), {})
    return None


def merged(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    """The defaults in ``a`` and in ``b``.

    Raises
    ------
    InputError : a name has another default in ``b`` than in ``a``
    """
    for name, default in b.items():
        if a.get(name, default) != default:
            raise InputError(
                f"the build parameter {name} has two defaults: {a[name]} and {default}"
            )
    return {**a, **b}


def _operator(op: str, *, swapped: bool) -> Callable[[Parameter, object], Any]:
    assert op in BINARY

    def apply(self: Parameter, other: object) -> Any:
        operand = _operand(other)
        if operand is None:
            return NotImplemented
        a, b = (operand, self) if swapped else (self, operand)
        return Parameter(Binary(op, a.expr, b.expr), merged(a.defaults, b.defaults))

    return apply


for _name, _op in _OPERATORS.items():
    setattr(Parameter, f"__{_name}__", _operator(_op, swapped=False))
    if _name not in ("eq", "ne", "lt", "le"):
        setattr(Parameter, f"__r{_name}__", _operator(_op, swapped=True))


def parameter(name: str, default: int) -> Any:
    """A constant that a build may set, such as a table's number of index bits.

    Arithmetic on it at module level (``1 << PTE_INDEX_BITS``) stays symbolic. The default
    goes with it: a function knows those of the parameters it uses, and a module that
    reaches two different ones for a name is refused when it is collected.
    """
    return Parameter(Param(name), {name: default & WORD_MASK})
