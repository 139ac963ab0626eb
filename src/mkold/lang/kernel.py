"""``@kernel`` and the objects that a module of kernel Python is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from mkold.base.errors import InputError
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
from mkold.lang.types import Type


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
    """

    def __init__(
        self,
        wrapped: Callable[..., Any],
        lowered: Function,
        params: tuple[Type, ...],
        results: tuple[Type, ...],
        callees: dict[str, KernelFunction],
    ) -> None:
        self.__wrapped__ = wrapped
        self.__doc__ = wrapped.__doc__
        self.name: str = wrapped.__name__
        self.key = lowered.name
        self.lowered, self.params, self.results = lowered, params, results
        self.callees = callees

    @property
    def definition(self) -> KernelFunction:
        """Itself; for a declared function, what it stands for."""
        return self

    @property
    def ir(self) -> Function:
        """The function in the intermediate form, callees under their short names."""
        from mkold.lang.collect import collect

        return collect([self])[self.name]

    def __call__(self, *_: object) -> Any:
        raise InputError(
            f"{self.name} is a kernel function: build it with mkold.native and call the image"
        )

    def __repr__(self) -> str:
        return f"<kernel function {self.key}>"


def kernel(function: Callable[..., Any]) -> KernelFunction:
    """Check ``function`` against kernel Python and lower it.

    Raises
    ------
    SourceError : something in it is outside the subset
    """
    from mkold.lang.lower import lower

    return lower(function)


class Parameter:
    """A build-time constant, or arithmetic on such; see ``parameter``."""

    __slots__ = ("expr",)
    __hash__ = None  # type: ignore[assignment]  # equality builds an expression

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    def __bool__(self) -> NoReturn:
        raise InputError("a build parameter has no value until the build; test it in @kernel")

    __int__ = __index__ = __bool__

    def __repr__(self) -> str:
        from mkold.ir.text import expr_text

        return expr_text(self.expr)

    def __invert__(self) -> Parameter:
        return Parameter(Unary("not", self.expr))

    def __neg__(self) -> Parameter:
        return Parameter(Unary("neg", self.expr))


_OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "floordiv": "udiv", "mod": "umod",
    "and": "and", "or": "or", "xor": "xor", "lshift": "shl", "rshift": "lshr",
    "eq": "eq", "ne": "ne", "lt": "ult", "le": "ule",
}  # fmt: skip


def _operand(value: object) -> Expr | None:
    if isinstance(value, Parameter):
        return value.expr
    if isinstance(value, int):
        return Const(value & WORD_MASK)
    return None


def _operator(op: str, *, swapped: bool) -> Callable[[Parameter, object], Any]:
    assert op in BINARY

    def apply(self: Parameter, other: object) -> Any:
        operand = _operand(other)
        if operand is None:
            return NotImplemented
        a, b = (operand, self.expr) if swapped else (self.expr, operand)
        return Parameter(Binary(op, a, b))

    return apply


for _name, _op in _OPERATORS.items():
    setattr(Parameter, f"__{_name}__", _operator(_op, swapped=False))
    if _name not in ("eq", "ne", "lt", "le"):
        setattr(Parameter, f"__r{_name}__", _operator(_op, swapped=True))

_DEFAULTS: dict[str, int] = {}


def parameter(name: str, default: int) -> Any:
    """A constant that a build may set, such as a table's number of index bits.

    Arithmetic on it at module level (``1 << PTE_INDEX_BITS``) stays symbolic.

    Raises
    ------
    InputError : the name is taken with another default
    """
    default &= WORD_MASK
    if _DEFAULTS.setdefault(name, default) != default:
        raise InputError(f"build parameter {name} has two defaults")
    return Parameter(Param(name))


def parameter_defaults() -> dict[str, int]:
    """Every parameter defined so far and its default."""
    return dict(_DEFAULTS)
