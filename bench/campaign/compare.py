"""What must be equal, and what is not: see docs/differential.md.

The program as it is goes to ``sat`` and ``masks``; with its loops written out it goes to
``masks`` and, one execution at a time, to ``brute``. A difference is a sentence; what could not
be compared (an engine gave up, too many executions) is counted.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeVar, cast

from campaign.brute import Brute, Found
from campaign.sample import Sample
from campaign.written_out import WrittenOut, written_out
from mkold.base.errors import LimitError, UnsupportedError
from mkold.check.decide import decide_case
from mkold.check.torture.native import run_natively
from mkold.ir.nodes import CallRcu, walk
from mkold.ir.program import Program
from mkold.lkmm import Status, Verdict, decide
from mkold.lkmm.tally import THIN_AIR

ROUNDS, MOST_ROUNDS = 2, 4
UNROLL = 4  # open rounds that the engines follow
TIMEOUT_S = {"sat": 0.4, "masks": 0.06, "written out": 0.15}
LONG_S = 0.4  # for all executions, one by one
MOST_LISTED, MOST_LOOKED_AT = 150, 1_500  # executions: all of each, hangs alone
PATIENCE = 30
MOST_TRIED = 20_000  # where something differs
OF_ENDS = frozenset({"unmatched-rcu-lock", "unmatched-srcu-lock"})
AGAIN_S = 0.05  # what is raised while Python tidies up is lost
NATIVE_ROUNDS, NATIVE_S = 300, 5.0
States = set[tuple[int, ...]]
T = TypeVar("T")


@dataclass(slots=True)
class Compared:
    """Of one program: ``differences``, and what was compared (or left out, and why)."""

    differences: list[str] = field(default_factory=list)
    patience: int = 1
    counts: Counter[str] = field(default_factory=Counter)

    def same(self, what: str, left: object, right: object, hint: object = "") -> None:
        """Note a difference between two that must be equal."""
        self.counts[what] += 1
        if left != right:
            self.differences.append(f"{what}: {_shown(left)} / {_shown(right)} {hint}".rstrip())

    def within(self, what: str, part: set[object] | States, whole: object) -> None:
        """Note what is in ``part`` alone."""
        self.counts[what] += 1
        more = set(part) - set(whole)  # type: ignore[call-overload]  # sets of either sort
        if more:
            self.differences.append(f"{what}: only there {_shown(more)}")


def compare(sample: Sample, *, thorough: bool = False, patient: bool = False) -> Compared:
    """Hold the engines together on one program.

    ``thorough``: through ``mkold.check`` and on real threads too; ``patient``: look at many
    more executions, and take as long as it takes.
    """
    found = Compared(patience=PATIENCE if patient else 1)
    sat = _decided(sample.program, "sat", found)
    masks = _decided(sample.program, "masks", found)
    if sat is not None and masks is not None:
        _two_engines(sat, masks, found)
    if sat is not None:
        _WrittenOut(sample.program, sat, found).run()
    if thorough and sample.case is not None and sat is not None and masks is not None:
        broken = ["bad" in decide_case(sample.case, engine=engine, show=False).broken
                  for engine in ("sat", "masks")]  # fmt: skip
        found.same("never", *broken)
        compare_natively(sample, sat, found)
    if found.differences and sat is not None and THIN_AIR in sat.assumed:
        found.differences.clear()
        found.counts["left out: out of thin air"] += 1
    if found.differences and sat is not None and _is_circular(sample.program, sat, found):
        found.differences.clear()
        found.counts["left out: justified by itself"] += 1
    return found


def _is_circular(program: Program, sat: Verdict, found: Compared) -> bool:
    """Whether all that differs is more than ``sat`` has, and justified by nothing but itself.

    No engine looks for that in a program with loops or calls: see docs/differential.md.
    """
    written = written_out(program, ROUNDS)
    brute = _limited(lambda: Brute(written), found, "paths")
    if brute is None or brute.n > MOST_TRIED:
        return False
    every, some = brute.all_there_is(), brute.all_there_is(justified=True)
    n = len(program.observed)
    whole = [
        {state[:n] for state in one.states if not any(state[n::2])} for one in (every, some)
    ]
    left = some.flags - written.untold - OF_ENDS - {"hang"}
    fits = whole[1] == set(sat.states) and left == told(sat) - written.untold - OF_ENDS
    return fits and (whole[0] != whole[1] or every.flags != some.flags)


def _decided(program: Program, engine: str, found: Compared, what: str = "") -> Verdict | None:
    """The verdict, or None where the engine gives up."""
    most = TIMEOUT_S[what or engine] * found.patience
    try:
        with limited(2 * most):
            verdict = decide(program, engine=engine, timeout_s=most, max_unroll=UNROLL)
    except (LimitError, UnsupportedError, RecursionError, TimeoutError) as error:
        found.counts[f"left out: {what or engine}, {type(error).__name__}"] += 1
        return None
    if verdict.status is Status.TIMEOUT:
        found.counts[f"left out: {what or engine}, time"] += 1
        return None
    if verdict.status is Status.BOUNDED:
        found.counts[f"bounded: {engine}"] += 1
    return verdict


def _two_engines(sat: Verdict, masks: Verdict, found: Compared) -> None:
    """The first engine against the second, on the program as it is."""
    if Status.BOUNDED in (sat.status, masks.status):
        return
    found.same("states, masks and sat", set(masks.states), set(sat.states))
    found.same("answer, masks and sat", masks.observation, sat.observation)
    if masks.assumed:  # of rounds that wait, and of threads that stand, masks knows nothing
        found.within("flags, masks in sat", set(masks.flags), set(sat.flags))
    else:
        found.same("flags, masks and sat", set(masks.flags), set(sat.flags))


class _WrittenOut:
    """``sat`` on a program, and the program with its loops written out."""

    def __init__(self, program: Program, sat: Verdict, found: Compared) -> None:
        self.program, self.sat, self.found = program, sat, found
        self.states, self.flags = set(sat.states), told(sat)

    def run(self) -> None:
        """Two rounds; where ``sat`` has more, one more, since it may need them."""
        for rounds in range(ROUNDS, MOST_ROUNDS + 1):
            written = written_out(self.program, rounds)
            one = self.once(written)
            if one is None:
                return
            states, flags, hang = one
            if rounds == ROUNDS:
                self.found.within("states, written out in sat", states, self.states)
                self.found.within("flags, written out in sat", flags - {"hang"}, self.flags)
                if hang:
                    self.found.within("hang, written out in sat", {"hang"}, self.sat.flags)
            missing = self.missing(written, states, flags, hang)
            if not missing or self.found.differences:
                break
        else:
            self.found.differences.append(f"sat alone: {_shown(missing)}")
        self.found.counts["sat in written out"] += 1

    def missing(
        self, written: WrittenOut, states: States, flags: set[str], hang: bool | None
    ) -> set[object]:
        """What ``sat`` has beyond so many rounds."""
        more: set[object] = {
            *self.states - states,
            *(self.flags - flags - written.untold - OF_ENDS),
        }
        if hang is False and "hang" in self.sat.flags:
            more.add("hang")
        return more

    def once(self, written: WrittenOut) -> tuple[States, set[str], bool | None] | None:
        """Final states, flags, and whether it hangs (None: not known)."""
        masks = _decided(written.program, "masks", self.found, "written out")
        if masks is None or masks.status is not Status.OK:
            return None
        n = len(self.program.observed)
        whole = {state[:n] for state in masks.states if not any(state[n::2])}
        stopped = any(any(state[n::2]) for state in masks.states)
        flags = told(masks) - written.untold - (OF_ENDS if stopped else set())
        brute = self.brute(written)
        if brute is None:
            return whole, flags, None
        if brute.n > MOST_LISTED:
            return whole, flags, _limited(brute.hangs, self.found, "hangs")
        every = _limited(brute.all_there_is, self.found, "listing")
        if every is None:
            return whole, flags, None
        self.one_by_one(written, every, masks)
        return whole, flags, every.hang

    def brute(self, written: WrittenOut) -> Brute | None:
        brute = _limited(lambda: Brute(written), self.found, "paths")
        if brute is not None and brute.n > MOST_LOOKED_AT * self.found.patience:
            self.found.counts["left out: executions, too many"] += 1
            return None
        return brute

    def one_by_one(self, written: WrittenOut, every: Found, masks: Verdict) -> None:
        """``masks`` on the written-out program, and all its executions."""
        self.found.same("states, masks and literal", set(masks.states), every.states)
        self.found.same("flags, masks and literal", told(masks), every.flags)
        self.found.counts["hang, looked at one by one"] += 1


def compare_natively(sample: Sample, sat: Verdict, found: Compared) -> None:
    """Run kernel Python on real threads: every outcome must be one of the model's.

    Only where the model knows no flag: a machine may do what it likes with a data race. A
    callback of one round would run in the next.
    """
    functions = sample.program.functions.values()
    later = any(isinstance(stmt, CallRcu) for f in functions for stmt in walk(f.body))
    if sample.case is None or sat.flags or sat.status is not Status.OK or later:
        return
    case = sample.case
    seen = apart(lambda: run_natively(case, NATIVE_ROUNDS, NATIVE_S))
    found.same("native crash", seen is None, False)
    if seen is not None:
        found.within("states, native in sat", set(seen.states), set(sat.states))
        found.same("native stop", seen.stop, None)


def apart(act: Callable[[], T]) -> T | None:
    """What ``act`` gives, in a process of its own; None if that dies."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open(writes, "wb") as out:
                pickle.dump(act(), out)
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as got:
        told = got.read()
    os.waitpid(child, 0)
    return cast(T, pickle.loads(told)) if told else None


def _limited(act: Callable[[], T], found: Compared, what: str) -> T | None:
    """What ``act`` gives, or None if it takes too long."""
    try:
        with limited(LONG_S * found.patience):
            return act()
    except (TimeoutError, LimitError):
        found.counts[f"left out: {what}, time"] += 1
        return None


def told(verdict: Verdict) -> set[str]:
    """The flags that are compared."""
    return set(verdict.flags) - {"hang"}


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` within after so much processor time."""

    def stop(number: int, frame: FrameType | None) -> None:
        if frame is None or "pysat" not in frame.f_code.co_filename:  # not halfway in there
            raise TimeoutError

    def lost(what: sys.UnraisableHookArgs) -> None:
        if not issubclass(what.exc_type, TimeoutError):
            hook(what)

    hook, sys.unraisablehook = sys.unraisablehook, lost
    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        sys.unraisablehook = hook


def _shown(what: object) -> str:
    if isinstance(what, set):
        return "{" + ", ".join(sorted(map(str, what))[:4]) + "}"
    return str(what)
