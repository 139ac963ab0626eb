"""Where a path of the program being unrolled stands, and how paths meet."""

from __future__ import annotations

from dataclasses import dataclass, field

from mkold.ir.flow import target
from mkold.lkmm.graph.guards import Guard, both, negate
from mkold.lkmm.graph.values import NO_TAINT, Taint, Value, merge_taints, phi, taint_under

Env = dict[str, tuple[Value, Taint]]
Mem = dict[int, tuple[Value, Taint]]  # what this thread stored last

# Kept among what a thread stored, so that it meets as words do; no word has this address.
PREEMPT_COUNT = -2


def at_start(preempt_count: int = 0) -> Mem:
    """What a thread has stored before it runs: nothing."""
    return {PREEMPT_COUNT: (preempt_count, NO_TAINT)}


@dataclass(slots=True)
class State:
    """Where a path stands: locals, whether it is alive, what its being alive depends on,
    and (see ``oracle``) what this thread stored last at each address."""

    env: Env
    live: Guard
    ctrl: Taint
    mem: Mem = field(default_factory=dict)

    def now(self) -> State:
        """The state as it stands, to be joined elsewhere."""
        return State(self.env, self.live, self.ctrl, self.mem)

    def under(self, guard: Guard, ctrl: Taint) -> State:
        """A copy for one side of a branch."""
        return State(dict(self.env), both(self.live, guard), ctrl, dict(self.mem))


@dataclass(slots=True)
class Scope:
    """A block or loop that the path is in, and the jumps out of it or on to its step."""

    label: str
    is_loop: bool
    breaks: list[State] = field(default_factory=list)
    continues: list[State] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    """Jumps met while a function body runs."""

    returns: list[tuple[State, list[tuple[Value, Taint]]]] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)

    def enter(self, label: str, *, is_loop: bool) -> Scope:
        """Into a block or loop; take it off ``scopes`` at its end."""
        self.scopes.append(Scope(label, is_loop))
        return self.scopes[-1]

    def scope(self, label: str) -> Scope:
        """The block or loop that a jump with ``label`` means."""
        scope = target(self.scopes, label)
        assert scope is not None
        return scope

    def n_left(self) -> int:
        """How many paths left so far by a jump."""
        jumps = (len(scope.breaks) + len(scope.continues) for scope in self.scopes)
        return len(self.returns) + sum(jumps)


def meet(guard: Guard, a: tuple[Value, Taint], b: tuple[Value, Taint]) -> tuple[Value, Taint]:
    if a == b:
        return a
    taint = merge_taints(taint_under(a[1], guard), taint_under(b[1], negate(guard)))
    return phi(guard, a[0], b[0]), taint


def meet_env(guard: Guard, a: Env, b: Env) -> Env:
    zero: tuple[Value, Taint] = (0, NO_TAINT)
    return {
        name: meet(guard, a.get(name, zero), b.get(name, zero))
        for name in (a if a.keys() >= b.keys() else a | b)
    }
