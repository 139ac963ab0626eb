"""The intermediate form to LLVM IR text: control flow, arithmetic, calls.

Rules
-----
* A function becomes ``{results..., [status]} @k.name(ptr base, i64 cpu, i64 args...)``; a
  word address ``w`` is ``base[w]``. ``status`` is there only if the function, or one it
  calls, can fail or be stopped; a caller that sees it set returns at once.
* A function that Python may call has an entry as well:
  ``i64 status @entry.name(ptr base, i64 cpu, i64 args..., ptr results)``.
* Locals are stack slots that LLVM turns into registers.
* Arithmetic is ``ir.nodes``' own: division by zero gives 0, so do long shifts.

Known limits: 64-bit little-endian targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mkold.ir.flow import target
from mkold.ir.meaning import expand
from mkold.ir.nodes import (
    NARROW,
    Assign,
    Binary,
    Block,
    Break,
    Call,
    Const,
    Continue,
    Expr,
    Function,
    FunctionWord,
    If,
    Local,
    Loop,
    Op,
    Return,
    Select,
    Stmt,
    Unary,
    walk,
)
from mkold.ir.prims import PRIMS
from mkold.native import accesses, runtime
from mkold.native.diagnostics import Site, Status

_PLAIN = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_DIVIDE = {"udiv": "udiv", "umod": "urem", "sdiv": "sdiv", "smod": "srem"}
_SHIFT = {"shl": "shl", "lshr": "lshr", "ashr": "ashr"}
_COMPARE = {"eq": "eq", "ne": "ne", "ult": "ult", "ule": "ule", "slt": "slt", "sle": "sle"}


def module_text(
    functions: Mapping[str, Function], exported: list[str], triple: str, *, checked: bool
) -> tuple[str, list[Site]]:
    """LLVM IR of all ``functions``, entries for ``exported``, and the table of sites."""
    functions = expand(functions)
    fallible = _fallible(functions, checked=checked)
    sites: list[Site] = []
    parts = [runtime.prologue(triple)]
    for function in functions.values():
        writer = FunctionWriter(function, functions, fallible, sites, triple, checked=checked)
        parts.append(writer.text())
    parts += [_entry(functions[name], name in fallible) for name in exported]
    return "\n".join(parts), sites


def _fallible(functions: Mapping[str, Function], *, checked: bool) -> set[str]:
    """Functions that can fail or be stopped, themselves or through what they call."""
    found = set()
    for name, function in functions.items():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and accesses.can_fail(PRIMS[stmt.prim], checked=checked):
                found.add(name)
    while True:
        more = {
            name
            for name, function in functions.items()
            for stmt in walk(function.body)
            if isinstance(stmt, Call) and stmt.function in found and name not in found
        }
        if not more:
            return found
        found |= more


def result_type(function: Function, *, fallible: bool) -> str:
    """The LLVM type that ``function`` returns."""
    n = function.n_results + fallible
    return "{ " + ", ".join(["i64"] * n) + " }" if n else "void"


def _entry(function: Function, fallible: bool) -> str:
    params = [f"i64 %a{i}" for i in range(len(function.params))]
    head = ", ".join(["ptr %b", "i64 %cpu", *params, "ptr %out"])
    args = ", ".join(["ptr %b", "i64 %cpu", *params])
    type_ = result_type(function, fallible=fallible)
    lines = [f'define i64 @"entry.{function.name}"({head}) nounwind {{']
    call = f'call {type_} @"k.{function.name}"({args})'
    lines.append(f"  {call}" if type_ == "void" else f"  %r = {call}")
    for i in range(function.n_results):
        lines += [
            f"  %v{i} = extractvalue {type_} %r, {i}",
            f"  %p{i} = getelementptr i64, ptr %out, i64 {i}",
            f"  store i64 %v{i}, ptr %p{i}",
        ]
    if fallible:
        lines += [f"  %s = extractvalue {type_} %r, {function.n_results}", "  ret i64 %s"]
    else:
        lines.append("  ret i64 0")
    return "\n".join([*lines, "}", ""])


@dataclass(frozen=True, slots=True)
class _Scope:
    """A block or loop being written, and the LLVM labels of its step and of what follows."""

    label: str
    step: str
    out: str

    @property
    def is_loop(self) -> bool:
        return bool(self.step)


class FunctionWriter:
    """Writes one function; ``accesses`` adds the primitives through the same object."""

    def __init__(
        self,
        function: Function,
        functions: Mapping[str, Function],
        fallible: set[str],
        sites: list[Site],
        triple: str,
        *,
        checked: bool,
    ) -> None:
        self.function, self.functions, self.fallible = function, functions, fallible
        self.sites, self.checked = sites, checked
        self.is_x86 = runtime.is_x86(triple)
        self.is_fallible = function.name in fallible
        self.type = result_type(function, fallible=self.is_fallible)
        self.lines: list[str] = []
        self.open = True  # whether the current block still lacks its end
        self.slots: dict[str, str] = {}
        self.n = 0
        self.scopes: list[_Scope] = []

    # Pieces.

    def line(self, text: str) -> None:
        """Append an instruction."""
        self.lines.append(f"  {text}")

    def name(self, instruction: str) -> str:
        """Append an instruction and name its result."""
        self.n += 1
        self.line(f"%t{self.n} = {instruction}")
        return f"%t{self.n}"

    def label(self, hint: str) -> str:
        """A new label."""
        self.n += 1
        return f"{hint}{self.n}"

    def start(self, label: str) -> None:
        """Begin the block ``label``, falling into it if the last one is open."""
        if self.open:
            self.line(f"br label %{label}")
        self.lines.append(f"{label}:")
        self.open = True

    def end(self, text: str) -> None:
        """End the current block with a jump."""
        self.line(text)
        self.open = False

    def branch(self, condition: str, yes: str, no: str) -> None:
        """End the current block with a conditional jump on an ``i1``."""
        self.end(f"br i1 {condition}, label %{yes}, label %{no}")

    def site(self, kind: str, what: str, stmt: Op) -> int:
        """Number a place that can fail."""
        self.sites.append(Site(kind, self.function.name, what, stmt.at))
        return len(self.sites) - 1

    def slot(self, name: str) -> str:
        """The stack slot of a local."""
        return self.slots.setdefault(name, f"%l{len(self.slots)}")

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

    # The function.

    def text(self) -> str:
        """The whole function."""
        for i, param in enumerate(self.function.params):
            self.assign(param, f"%a{i}")
        self.block(self.function.body)
        if self.open:
            self.give_back(())
        params = [f"i64 %a{i}" for i in range(len(self.function.params))]
        head = ", ".join(["ptr %b", "i64 %cpu", *params])
        slots = [
            f"  {slot} = alloca i64\n  store i64 0, ptr {slot}" for slot in self.slots.values()
        ]
        first = f'define internal {self.type} @"k.{self.function.name}"({head}) nounwind {{'
        pauses = ["  %pauses = alloca i64", "  store i64 0, ptr %pauses"]
        return "\n".join([first, "entry:", *slots, *pauses, *self.lines, "}", ""])

    def give_back(self, values: tuple[Expr, ...]) -> None:
        """Return ``values``, and that nothing failed."""
        if self.type == "void":
            self.end("ret void")
            return
        parts = [self.word(value) for value in values]
        if self.is_fallible:
            parts.append(str(int(Status.OK)))
        whole = "poison" if parts else "zeroinitializer"
        for i, part in enumerate(parts):
            whole = self.name(f"insertvalue {self.type} {whole}, i64 {part}, {i}")
        self.end(f"ret {self.type} {whole}")

    # Statements.

    def block(self, body: tuple[Stmt, ...]) -> None:
        """Write statements up to the first jump."""
        for stmt in body:
            if not self.open:
                return
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        """Write one statement."""
        match stmt:
            case Assign(dst, value):
                self.assign(dst, self.word(value))
            case Op():
                accesses.write(self, PRIMS[stmt.prim], stmt)
            case Call():
                self._call(stmt)
            case If(cond, then, orelse):
                self._if(cond, then, orelse)
            case Block():
                self._labelled(stmt)
            case Loop():
                self._loop(stmt)
            case Break(label=label):
                self.end(f"br label %{self._scope(label).out}")
            case Continue(label=label):
                self.end(f"br label %{self._scope(label).step}")
            case Return(values):
                self.give_back(values)
            case _:
                raise AssertionError(f"{stmt} is not linked")

    def _call(self, stmt: Call) -> None:
        callee = self.functions[stmt.function]
        fallible = stmt.function in self.fallible
        type_ = result_type(callee, fallible=fallible)
        words = [f"i64 {self.word(arg)}" for arg in stmt.args]
        call = f'call {type_} @"k.{callee.name}"({", ".join(["ptr %b", "i64 %cpu", *words])})'
        if type_ == "void":
            self.line(call)
            return
        result = self.name(call)
        if fallible:
            status = self.name(f"extractvalue {type_} {result}, {callee.n_results}")
            self._pass_on(status)
        for i, dst in enumerate(stmt.dsts):
            self.assign(dst, self.name(f"extractvalue {type_} {result}, {i}"))

    def _pass_on(self, status: str) -> None:
        failed, on = self.label("failed"), self.label("on")
        self.branch(self.name(f"icmp ne i64 {status}, 0"), failed, on)
        self.start(failed)
        self.leave(status)
        self.start(on)

    def _if(self, cond: Expr, then: tuple[Stmt, ...], orelse: tuple[Stmt, ...]) -> None:
        yes, no, after = self.label("then"), self.label("else"), self.label("after")
        self.branch(self.condition(cond), yes, no)
        goes_on = False
        for label, body in ((yes, then), (no, orelse)):
            self.start(label)
            self.block(body)
            if self.open:
                goes_on = True
                self.end(f"br label %{after}")
        if goes_on:
            self.start(after)

    def _scope(self, label: str) -> _Scope:
        scope = target(self.scopes, label)
        assert scope is not None
        return scope

    def _labelled(self, stmt: Block) -> None:
        out = self.label("out")
        self.scopes.append(_Scope(stmt.label, "", out))
        self.block(stmt.body)
        self.scopes.pop()
        self.start(out)

    def _loop(self, stmt: Loop) -> None:
        again, next_, out = self.label("loop"), self.label("step"), self.label("out")
        self.start(again)
        self.scopes.append(_Scope(stmt.label, next_, out))
        self.block(stmt.body)
        self.scopes.pop()
        self.start(next_)
        self.block(stmt.step)
        if self.open:
            self.end(f"br label %{again}")
        self.start(out)

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
            case Unary("neg", a):
                return self.name(f"sub i64 0, {self.word(a)}")
            case Unary("not", a):
                return self.name(f"xor i64 {self.word(a)}, -1")
            case Unary("lnot", _):
                return self.name(f"zext i1 {self.condition(expr)} to i64")
            case Unary(op, a):
                width, signed = NARROW[op]
                return self.narrow(self.word(a), width, signed=signed)
            case Binary(op, a, b):
                if op in _COMPARE:
                    return self.name(f"zext i1 {self.condition(expr)} to i64")
                return self._arithmetic(op, self.word(a), self.word(b))
            case Select(cond, a, b):
                chosen = self.condition(cond)
                x, y = self.word(a), self.word(b)
                return self.name(f"select i1 {chosen}, i64 {x}, i64 {y}")
            case _:
                raise AssertionError(f"{expr} is not bound")

    def narrow(self, word: str, width: int, *, signed: bool) -> str:
        """The low ``width`` bits of an ``i64`` operand, extended to 64 again."""
        low = self.name(f"trunc i64 {word} to i{width}")
        return self.name(f"{'sext' if signed else 'zext'} i{width} {low} to i64")

    def condition(self, expr: Expr) -> str:
        """Whether ``expr`` is not zero, as an ``i1`` operand."""
        match expr:
            case Const(value):
                return "true" if value else "false"
            case Unary("lnot", a):
                return self.name(f"xor i1 {self.condition(a)}, true")
            case Binary(op, a, b) if op in _COMPARE:
                return self.name(f"icmp {_COMPARE[op]} i64 {self.word(a)}, {self.word(b)}")
        return self.name(f"icmp ne i64 {self.word(expr)}, 0")

    def _arithmetic(self, op: str, a: str, b: str) -> str:
        if op in _PLAIN:
            return self.name(f"{_PLAIN[op]} i64 {a}, {b}")
        if op in _SHIFT:
            return self._shift(op, a, b)
        return self._divide(op, a, b)

    def _shift(self, op: str, a: str, b: str) -> str:
        if op == "ashr":
            within = self.name(f"call i64 @llvm.umin.i64(i64 {b}, i64 63)")
            return self.name(f"ashr i64 {a}, {within}")
        if b.isdigit() and int(b) < 64:
            return self.name(f"{_SHIFT[op]} i64 {a}, {b}")
        within = self.name(f"and i64 {b}, 63")
        shifted = self.name(f"{_SHIFT[op]} i64 {a}, {within}")
        fits = self.name(f"icmp ult i64 {b}, 64")
        return self.name(f"select i1 {fits}, i64 {shifted}, i64 0")

    def _divide(self, op: str, a: str, b: str) -> str:
        if b.isdigit() and 0 < int(b) < 1 << 63:
            return self.name(f"{_DIVIDE[op]} i64 {a}, {b}")
        is_zero = self.name(f"icmp eq i64 {b}, 0")
        safe = self.name(f"select i1 {is_zero}, i64 1, i64 {b}")
        if op in ("sdiv", "smod"):
            return self._divide_signed(op, a, safe, is_zero)
        result = self.name(f"{_DIVIDE[op]} i64 {a}, {safe}")
        return self.name(f"select i1 {is_zero}, i64 0, i64 {result}")

    def _divide_signed(self, op: str, a: str, b: str, is_zero: str) -> str:
        """Signed division without the trap at the most negative word over -1."""
        is_minus = self.name(f"icmp eq i64 {b}, -1")
        safe = self.name(f"select i1 {is_minus}, i64 1, i64 {b}")
        result = self.name(f"{_DIVIDE[op]} i64 {a}, {safe}")
        other = self.name(f"sub i64 0, {a}") if op == "sdiv" else "0"
        result = self.name(f"select i1 {is_minus}, i64 {other}, i64 {result}")
        return self.name(f"select i1 {is_zero}, i64 0, i64 {result}")
