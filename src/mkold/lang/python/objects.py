"""What the names in a module of kernel Python stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from mkold.base.errors import InputError
from mkold.ir.nodes import BINARY, WORD_MASK, Binary, Const, Expr, Function, Param, Unary
from mkold.ir.prims import Prim
from mkold.ir.text import expr_text
from mkold.lang.meaning.builder import Uses, merged
from mkold.lang.meaning.definition import Checked
from mkold.lang.types.structs import FunctionPointer


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


class KernelFunction(Checked):
    """A checked and lowered function of kernel Python, or a hook."""

    def __init__(
        self,
        wrapped: Callable[..., Any],
        lowered: Function,
        type_: FunctionPointer,
        uses: Uses,
        *,
        is_hook: bool = False,
    ) -> None:
        super().__init__(wrapped.__name__, lowered, type_, uses, is_hook=is_hook)
        self.__wrapped__ = wrapped
        self.__doc__ = wrapped.__doc__

    def __call__(self, *_: object) -> Any:
        raise InputError(
            f"{self.name} is a kernel function: build it with mkold.native and call the image"
        )

    def __repr__(self) -> str:
        return f"<kernel {'hook' if self.is_hook else 'function'} {self.key}>"


class Parameter:
    """A build-time constant, or arithmetic on such; see ``parameter``.

    ``defaults`` are those of the parameters in ``expr``, by name.
    """

    __slots__ = ("defaults", "expr")
    __hash__ = None  # type: ignore[assignment]  # equality builds an expression

    def __init__(self, expr: Expr, defaults: dict[str, int]) -> None:
        self.expr, self.defaults = expr, defaults

    def __bool__(self) -> NoReturn:
        raise InputError("a build parameter has no value until the build; test it in @kernel")

    __int__ = __index__ = __bool__

    def __repr__(self) -> str:
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
