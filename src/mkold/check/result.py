"""What became of a case, and of a claim: plain values, which cross processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from mkold.base.errors import MkoldError, Pos, SourceError
from mkold.check.claim import Case, Claim
from mkold.ir.program import Program
from mkold.lkmm import Execution


@dataclass(frozen=True, slots=True)
class About:
    """What a test of a final state looked at: addresses of words, results of threads."""

    words: frozenset[int]
    threads: frozenset[int]


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken property and an execution that shows it (if one could be shown).

    ``about`` is what the test of a bad final state looked at; None for a property of the
    execution itself.
    """

    property: str
    sentence: str
    state: tuple[int, ...]
    execution: Execution | None
    program: Program
    about: About | None = None


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a verdict rests on.

    ``engine`` decided; ``loops``: the program has some; ``bound``: the rounds after which a
    loop was cut, where one was (0: none, so all of them are finite or wait); ``assumed``: what
    the engine took for granted; ``exercised``: the primitives that there are events of, and
    where.
    """

    engine: str = ""
    loops: bool = False
    bound: int = 0
    assumed: tuple[str, ...] = ()
    exercised: frozenset[tuple[str, Pos | None]] = frozenset()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a case has no answer at all: ``text`` is the whole message.

    ``traceback``: it is a bug of mkold's.
    """

    text: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """``status`` is ``holds``, ``counterexample``, ``undecided`` or ``error``.

    ``reason`` says why undecided, ``fault`` why there is an error; ``changes`` is what the
    case's edits change, if that was asked for. ``n_states`` final states were seen.
    """

    label: str
    decides: bool
    status: str
    breaches: tuple[Breach, ...] = ()
    reason: str = ""
    n_states: int = 0
    n_threads: int = 0
    cpu_s: float = 0.0
    grounds: Grounds = field(default_factory=Grounds)
    fault: Fault | None = None
    changes: str = ""

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the broken properties."""
        return tuple(breach.property for breach in self.breaches)


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """``verdict`` is ``holds``, ``refuted`` or ``undecided``."""

    claim: Claim
    cases: tuple[CaseResult, ...]

    @property
    def verdict(self) -> str:
        """By the claim's deciding cases alone."""
        wanted = "holds" if self.claim.asks == "always" else "counterexample"
        statuses = {case.status for case in self.cases if case.decides}
        if statuses == {wanted}:
            return "holds"
        return "undecided" if statuses <= {wanted, "undecided", "error"} else "refuted"


def undecided(case: Case, reason: str, *, cpu_s: float = 0.0, n_threads: int = 0) -> CaseResult:
    """The result of a case that some limit left open."""
    return CaseResult(case.label, case.decides, "undecided", reason=reason,
                      n_threads=n_threads, cpu_s=cpu_s)  # fmt: skip


def refused(case: Case, error: MkoldError) -> CaseResult:
    """The result of a case that is bad input."""
    reason = str(error).partition("\n")[0]
    if isinstance(error, SourceError):
        file = error.pos.file.rpartition("/")[2]
        reason = f"{error.reason} ({file}:{error.pos.line})"
    return CaseResult(case.label, case.decides, "error", reason=reason, fault=Fault(str(error)))


def failed(case: Case, error: BaseException, traceback: str) -> CaseResult:
    """The result of a case that mkold failed at."""
    text = f"internal error: {type(error).__name__}: {error}"
    reason = text.partition("\n")[0]
    return CaseResult(case.label, case.decides, "error", reason=reason,
                      fault=Fault(text, traceback))  # fmt: skip
