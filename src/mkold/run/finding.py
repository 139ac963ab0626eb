"""What a run found, in sentences that another run on the same host would repeat.

A difference is named only where its whole interval lies beyond what this host's noise (a
path measured twice) and a stated least effect explain; otherwise it is "not seen".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mkold.run.figures import AGING_SHARE, GUEST_RATE, PASS_MS, SEEN
from mkold.run.results import Comparison, RunResult

# Effects smaller than these are not worth a decision, and not worth a sentence.
GUEST_EFFECT = 0.1
CHEAP_SHARE = 0.02  # of a core
POORLY_SEEN = 0.9
WHOLE = 0.95  # of a trace


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one guest: what lockless aging does to the host's work and to the guest's speed, each
    "less", "more", "same", "untold", or "" where it was not measured; and whether aging is
    cheap on either path. The speed is "same" only where all of its interval is."""

    guest: str
    aging: str
    speed: str
    cheap: bool


def found(result: RunResult) -> Finding:
    """What the lockless path did, compared with the locked one."""
    shares = [path.figures.get(AGING_SHARE) for path in result.paths if path.path != "none"]
    known = [share for share in shares if share is not None]
    return Finding(
        result.trace.name,
        _direction(_one(result, PASS_MS), 0.0),
        _direction(_one(result, GUEST_RATE), GUEST_EFFECT),
        bool(known) and max(known) < CHEAP_SHARE,
    )


def _one(result: RunResult, figure: str) -> Comparison | None:
    for c in result.compared(figure):
        if (c.path, c.base) == ("lockless", "locked"):
            return c
    return None


def _direction(c: Comparison | None, least: float) -> str:
    if c is None or c.low is None or c.high is None:
        return ""
    if c.high < 1 - least:
        return "less"
    if c.low > 1 + least:
        return "more"
    return "same" if 1 - least <= c.low and c.high <= 1 + least else "untold"


def noise(result: RunResult, figure: str) -> Comparison | None:
    """A path compared with itself, None where none was run twice."""
    return next((c for c in result.compared(figure) if c.path.startswith(f"{c.base} #")), None)


def summary(results: Sequence[RunResult]) -> str:
    """One sentence: what was found, and what was not; empty if there is nothing to say."""
    findings = [f for f in map(found, results) if f.aging]
    cheap = _names([f.guest for f in findings if f.cheap])
    seen = []
    if cheap:
        seen.append(f"on {cheap} either path ages for under {CHEAP_SHARE * 100:g} % of a core")
    seen += [*_aging(findings, "less"), *_aging(findings, "more"), *_speed(findings)]
    if alike := _guests(findings, "speed", "same"):
        seen.append(f"the guest's speed is the same within a tenth on {alike}")
    missed = []
    if alike := _names([f.guest for f in findings if f.aging == "untold" and not f.cheap]):
        missed.append(f"whether aging takes the host less time on {alike}")
    if alike := _guests(findings, "speed", "untold"):
        missed.append(f"whether the guest's speed differs by a tenth on {alike}")
    parts = ["Found: " + "; ".join(seen)] if seen else []
    parts += ["Could not be told here: " + "; ".join(missed)] if missed else []
    return ". ".join(parts) + "." if parts else ""


def _aging(findings: Sequence[Finding], what: str) -> list[str]:
    """Of guests whose aging costs something: else a difference is worth nothing."""
    guests = _names([f.guest for f in findings if f.aging == what and not f.cheap])
    if not guests:
        return []
    return [f"a lockless pass takes {what} of the host's time than a locked one on {guests}"]


def _speed(findings: Sequence[Finding]) -> list[str]:
    return [
        f"the guest is over a tenth {word} with the lockless path on {guests}"
        for what, word in (("more", "faster"), ("less", "slower"))
        if (guests := _guests(findings, "speed", what))
    ]


def _guests(findings: Sequence[Finding], part: str, what: str) -> str:
    return _names([f.guest for f in findings if getattr(f, part) == what])


def _names(names: Sequence[str]) -> str:
    return " and ".join(names)


def notes(result: RunResult) -> list[str]:
    """What a reader of the figures has to know, one sentence each."""
    machine, out = result.machine, list(result.spoiled)
    wanted = int(result.pages * machine.memory_share)
    if machine.memory_share < 1 and result.frames > wanted:
        out.append(
            f"{result.frames} frames is the least there can be; a memory share of "
            f"{machine.memory_share:.0%} would be {wanted}."
        )
    if 0 < result.times_through < WHOLE:
        out.append(
            f"A round is {result.times_through:.0%} of the trace, from another place each "
            "time: a longer --duration, or fewer --rounds, would show more of it."
        )
    out += _short(result)
    if result.frames < result.pages and result.times_through > 1:
        out.append(
            f"The trace was gone through {result.times_through:.1f} times a round: pages that "
            "it uses once come back each time, as refaults."
        )
    return [*out, *_hidden(result), *_cut(result)]


def _short(result: RunResult) -> list[str]:
    """Where rounds are too short for aging, or too few for what was asked."""
    rounds = [r for path in result.paths for r in path.rounds]
    longest = max((r.elapsed_s for r in rounds), default=0.0)
    found = []
    if rounds and longest < 2 * result.machine.interval_s:
        found.append(
            f"A round took at most {longest * 1e3:.0f} ms, with "
            f"{result.machine.interval_s * 1e3:g} ms between passes: few were measured. A "
            "longer --duration, fewer --rounds or a shorter --interval would help."
        )
    wanted, reached = result.spec.precision, _one(result, GUEST_RATE)
    if wanted and reached is not None and reached.low is not None:
        half = reached.interval.half_width
        if half > wanted:
            found.append(
                f"The guest's speed is compared within {half:.0%}, not the {wanted:.0%} asked "
                "for (--precision): that wants a longer --duration or a quieter host."
            )
    return found


def _hidden(result: RunResult) -> list[str]:
    machine = result.machine
    seen = [path.figures.get(SEEN) for path in result.paths]
    least = min((share for share in seen if share is not None), default=1.0)
    if blind := [path for path in result.paths if path.figures.get(SEEN) == 0]:
        found = [
            f"The {blind[0].path} path saw no page young: {machine.arch} {machine.kernel} in "
            f"{machine.mmu} mode has none, and a pass over bitmaps does not fall back to "
            "mmu_lock."
        ]
    elif least < POORLY_SEEN:
        found = [
            f"Only {least:.0%} of the touched pages were seen young: an access that hits the "
            f"vCPU's TLB sets no bit ({machine.tlb}); --tlb-entries and --switch-interval "
            "change it."
        ]
    elif result.pages <= machine.tlb_entries:
        pages = "The one page fits" if result.pages == 1 else f"All {result.pages:,} pages fit"
        found = [f"{pages} the vCPU's {machine.tlb}."]
    else:
        found = []
    if machine.bloom:
        found.append(
            "Passes skip tables that the Bloom filter does not hold: a page in one is not seen "
            "young in that pass, and counts as seen, not touched, when its bit is found later."
        )
    return found


def _cut(result: RunResult) -> list[str]:
    cut = [path.path for path in result.paths if any(not r.whole for r in path.rounds)]
    if cut and not result.interrupted:
        return [
            f"Not all of the work was done in time on: {', '.join(cut)}; no fair comparison."
        ]
    return []
