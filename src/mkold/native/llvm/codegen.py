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

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mkold.ir.callgraph import called
from mkold.ir.flow import target
from mkold.ir.meaning import expand
from mkold.ir.nodes import (
    Assign,
    Block,
    Break,
    Call,
    CallPtr,
    Continue,
    Expr,
    Function,
    If,
    Loop,
    Op,
    Return,
    Stmt,
    walk,
)
from mkold.ir.prims import PRIMS
from mkold.native.llvm import accesses, runtime
from mkold.native.llvm.sites import Site, Status
from mkold.native.llvm.writer import Writer, result_type


def module_text(
    functions: Mapping[str, Function],
    exported: list[str],
    triple: str,
    *,
    checked: bool,
    trusted: Collection[str] = (),
) -> tuple[str, list[Site]]:
    """LLVM IR of all ``functions``, entries for ``exported``, and the table of sites.

    ``checked``: with the checks of the checked build, but not in those ``trusted``.
    """
    apart = _choices(functions)
    functions = expand(functions)
    fallible = _fallible(functions, checked=checked)
    sites: list[Site] = []
    parts = [runtime.prologue(triple)]
    for function in functions.values():
        tests = checked and function.name not in trusted
        writer = FunctionWriter(function, functions, fallible, sites, triple, checked=tests)
        parts.append(writer.text("noinline " if function.name in apart else ""))
    parts += [_entry(functions[name], name in fallible) for name in exported]
    return "\n".join(parts), sites


def _choices(functions: Mapping[str, Function]) -> set[str]:
    """Functions that are one of several which some pointer may mean.

    They are not inlined: each call through such a pointer would take a copy of all.
    """
    calls = (s for f in functions.values() for s in walk(f.body) if isinstance(s, CallPtr))
    return {m.name for call in calls if len(call.members) > 1 for m in call.members}


def _fallible(functions: Mapping[str, Function], *, checked: bool) -> set[str]:
    """Functions that can fail or be stopped, themselves or through what they call."""
    found = set()
    for name, function in functions.items():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and accesses.can_fail(PRIMS[stmt.prim], checked=checked):
                found.add(name)
    callers: dict[str, list[str]] = {}
    for name, function in functions.items():
        for callee in called(function):
            callers.setdefault(callee, []).append(name)
    waiting = [*found]
    while waiting:
        more = [name for name in callers.get(waiting.pop(), ()) if name not in found]
        found.update(more)
        waiting += more
    return found


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


class FunctionWriter(Writer):
    """Writes one function."""

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
        super().__init__(
            function, sites, triple, fallible=function.name in fallible, checked=checked
        )
        self.functions, self.fallible = functions, fallible
        self.scopes: list[_Scope] = []

    # The function.

    def text(self, attributes: str = "") -> str:
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
        name = f'@"k.{self.function.name}"'
        first = f"define internal {self.type} {name}({head}) {attributes}nounwind {{"
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
