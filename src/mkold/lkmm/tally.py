"""What the allowed executions of a program add up to, as an engine comes upon them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mkold.base.errors import Pos
from mkold.ir.program import Program
from mkold.lkmm.ask import Ask
from mkold.lkmm.graph.events import Node
from mkold.lkmm.states import StateSet
from mkold.lkmm.verdict import CutLoop, Execution, Observation, Status, Verdict
from mkold.lkmm.waits import seen

WAITING = "who waits gets what it waits for, and sees nothing on the way"
THIN_AIR = "reads that copy one another in a ring find no word out of thin air"


class Tally:
    """Kept by an engine while it works; ``verdict`` is what it hands back.

    ``yes`` and ``no``: some allowed execution satisfies the formula, and some does not.
    ``bounded``: executions that stay longer in a loop were left out, in one of ``cuts`` if
    the engine knows. ``n_candidates``: executions looked at, in whatever way the engine
    counts them.
    ``sees_waiting``: executions in which a thread waits, once more or for ever, are among
    them.
    """

    def __init__(self, program: Program, ask: Ask, *, sees_waiting: bool = False) -> None:
        self.program, self.ask, self.sees_waiting = program, ask, sees_waiting
        self.states = StateSet()
        self.flags: set[str] = set()
        self.yes = self.no = self.bounded = False
        self.assumed: list[str] = []
        self.cuts: tuple[CutLoop, ...] = ()
        self.exercised: frozenset[tuple[str, Pos | None]] = frozenset()
        self.n_candidates = 0
        self.witness: Execution | None = None
        self.forbidden: Execution | None = None
        self.flagged: dict[str, Execution] = {}

    def comes_to(self, nodes: Iterable[Node]) -> None:
        """Say what of the source there are events of."""
        self.exercised = frozenset((node.prim, node.at) for node in nodes)

    def raise_flag(self, flag: str, draw: Callable[[], Execution]) -> None:
        """Some allowed execution, which ``draw`` draws, raises ``flag``."""
        self.flags.add(flag)
        if self.ask.witness and flag not in self.flagged:
            self.flagged[flag] = draw()

    @property
    def decided(self) -> bool:
        """Whether a witness was found, and nothing but a witness is asked for."""
        return self.yes and not self.ask.states and not self._forall

    @property
    def _forall(self) -> bool:
        condition = self.program.condition
        return condition is not None and condition.quantifier == "forall"

    @property
    def _leaves_out_waiting(self) -> bool:
        return self.ask.hangs and not self.sees_waiting and seen(self.program).may_wait

    def _observation(self) -> Observation:
        if not self.yes:
            return Observation.NEVER
        always = not self.no and self.ask.states
        return Observation.ALWAYS if always else Observation.SOMETIMES

    def verdict(self) -> Verdict:
        """The verdict, its name and time still to be filled in."""
        program, ended = self.program, self.yes or self.no
        if self.ask.states and not ended and not self.bounded and program.filter is None:
            self.flags.add("hang")  # no execution comes to its end
        observation = holds = None
        if program.condition is not None:
            observation = self._observation()
            holds = {"exists": self.yes, "~exists": not self.yes, "forall": not self.no}[
                program.condition.quantifier
            ]
        return Verdict(
            program.name,
            Status.BOUNDED if self.bounded else Status.OK,
            observation,
            holds,
            self.states.listed() if self.ask.states else (),
            tuple(sorted(self.flags)),
            n_candidates=self.n_candidates,
            assumed=((WAITING,) if self._leaves_out_waiting else ()) + tuple(self.assumed),
            witness=self.witness,
            forbidden=None if self.witness else self.forbidden,
            flagged=self.flagged,
            cuts=self.cuts,
            exercised=self.exercised,
        )
