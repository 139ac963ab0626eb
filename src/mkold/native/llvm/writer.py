"""One function being written: its locals, its expressions, how it can fail."""

from __future__ import annotations

from mkold.ir.nodes import (
    Binary,
    Const,
    Expr,
    Function,
    FunctionWord,
    Local,
    Op,
    Select,
    Unary,
)
from mkold.native.llvm import arithmetic, runtime
from mkold.native.llvm.lines import Lines
from mkold.native.llvm.sites import Site, Status


def result_type(function: Function, *, fallible: bool) -> str:
    """The LLVM type that ``function`` returns."""
    n = function.n_results + fallible
    return "{ " + ", ".join(["i64"] * n) + " }" if n else "void"


class Writer(Lines):
    """What statements and primitives are written with.

    Attributes
    ----------
    function : the one that is written
    type : the LLVM type that it returns; with a status at its end if ``is_fallible``
    checked : whether every address, and every word read for POISON, is tested
    algebra : words as operands of the instructions written here
    slots : the stack slot of each local, and others by their own name
    """

    def __init__(
        self,
        function: Function,
        sites: list[Site],
        triple: str,
        *,
        fallible: bool,
        checked: bool,
    ) -> None:
        super().__init__()
        self.function, self.checked = function, checked
        self.is_x86 = runtime.is_x86(triple)
        self.is_fallible = fallible
        self.type = result_type(function, fallible=fallible)
        self.algebra = arithmetic.algebra(self)
        self.slots: dict[str, str] = {}
        self._sites = sites

    # Places that can fail, locals.

    def site(self, kind: str, what: str, stmt: Op) -> int:
        """Number a place that can fail."""
        self._sites.append(Site(kind, self.function.name, what, stmt.at))
        return len(self._sites) - 1

    def slot(self, name: str) -> str:
        """The stack slot of a local."""
        return self.slots.setdefault(name, f"%l{len(self.slots)}")

    def new_slot(self, hint: str) -> str:
        """A stack slot of no local."""
        slot = "%" + self.label(hint)
        self.slots[slot] = slot
        return slot

    def assign(self, name: str, value: str) -> None:
        """Store to a local."""
        self.line(f"store i64 {value}, ptr {self.slot(name)}")

    def leave(self, status: str) -> None:
        """Return at once with ``status`` and no results."""
        n = self.function.n_results
        base = "zeroinitializer"
        value = self.name(f"insertvalue {self.type} {base}, i64 {status}, {n}")
        self.end(f"ret {self.type} {value}")

    def fail_if(self, condition: str, site: int, value: str) -> None:
        """Record a bug and leave, if the ``i1`` holds."""
        bad, good = self.label("bad"), self.label("good")
        self.branch(condition, bad, good)
        self.start(bad)
        self.line(f"call void @mkold.bug(ptr %b, i64 %cpu, i64 {site}, i64 {value})")
        self.leave(str(int(Status.BUG)))
        self.start(good)

    def stop_if(self, condition: str) -> None:
        """Leave as stopped, if the ``i1`` holds."""
        stop, on = self.label("stop"), self.label("on")
        self.branch(condition, stop, on)
        self.start(stop)
        self.leave(str(int(Status.STOPPED)))
        self.start(on)

    # Expressions.

    def word(self, expr: Expr) -> str:
        """``expr`` as an ``i64`` operand."""
        match expr:
            case Const(value):
                return str(value)
            case FunctionWord():
                return str(expr.word)
            case Local(name):
                return self.name(f"load i64, ptr {self.slot(name)}")
            case Unary("lnot", _):
                return arithmetic.truth(self, self.condition(expr))
            case Unary(op, a):
                return arithmetic.unary(self, op, self.word(a))
            case Binary(op, a, b):
                return arithmetic.binary(self, op, self.word(a), self.word(b))
            case Select(cond, a, b):
                chosen = self.condition(cond)
                x, y = self.word(a), self.word(b)
                return self.name(f"select i1 {chosen}, i64 {x}, i64 {y}")
            case _:
                raise AssertionError(f"{expr} is not bound")

    def condition(self, expr: Expr) -> str:
        """Whether ``expr`` is not zero, as an ``i1`` operand."""
        match expr:
            case Const(value):
                return "true" if value else "false"
            case Unary("lnot", a):
                return self.name(f"xor i1 {self.condition(a)}, true")
            case Binary(op, a, b) if op in arithmetic.COMPARE:
                return arithmetic.compare(self, op, self.word(a), self.word(b))
        return self.name(f"icmp ne i64 {self.word(expr)}, 0")
