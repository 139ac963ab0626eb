"""The report of ``mkold run``: what was run, a column per path, generations over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from mkold.base.shown import shown
from mkold.run.results import GenerationSample, PathResult, RunResult, summarise
from mkold.view.chart import Layer, draw_stacked, legend
from mkold.view.table import percent, si, text_table

CHART_HEIGHT = 5
CHART_WIDTH = 60
# The ratio of two shares says nothing where the base is below this.
SMALL_SHARE = 0.001

# Bottom to top; the oldest generation lies on the ground, what was evicted on top.
_LAYERS = (
    Layer("oldest", "░", ".", "34"),
    Layer("older", "▒", "-", "36"),
    Layer("younger", "▓", "+", "33"),
    Layer("youngest generation", "█", "#", "31"),
    Layer("not in memory", "·", " ", "90"),
)


def run_text(result: RunResult, *, colour: bool = False, unicode: bool = True) -> str:
    """The whole report as text."""
    lines = [*_heading(result, unicode), "", *_table(result, colour), ""]
    for path in result.paths:
        lines += _generations(path, result, colour=colour, unicode=unicode)
    lines += [legend(_LAYERS, colour=colour, unicode=unicode), *_notes(result)]
    return "\n".join(lines)


def _heading(result: RunResult, unicode: bool) -> list[str]:
    trace, machine = result.trace, result.machine
    held = "" if result.frames < result.pages else ": no eviction"
    plural = "" if machine.vcpus == 1 else "s"
    micro = "µs" if unicode else "us"
    lines = [
        shown(f"{trace.name}: {trace.command}", most=96),
        f"{si(trace.accesses)} accesses to {trace.pages:,} pages of 4 KiB; "
        f"{machine.vcpus} vCPU{plural}, "
        f"{result.frames:,} frames for {result.pages:,} pages of {machine.page_size}{held}",
        f"aging every {machine.interval_s * 1e3:g} ms, swap {machine.swap_latency_us:g} "
        f"{micro}, clear by {machine.clear}, {_rounds(result)}",
    ]
    if machine.variant:
        lines.append(f"variant: {machine.variant}")
    return lines


def _rounds(result: RunResult) -> str:
    n = min(len(path.rounds) for path in result.paths) if result.paths else 0
    return f"medians of {n} round{'' if n == 1 else 's'} of {result.spec.duration_s:.2g} s"


_Row = tuple[str, Callable[[PathResult], float | None], Callable[[float], str]]


def _refault_rate(path: PathResult) -> float | None:
    accesses = sum(r.accesses for r in path.rounds)
    return sum(r.refaults for r in path.rounds) / accesses * 1e6 if accesses else None


def _if_aged(name: str) -> Callable[[PathResult], float | None]:
    """A count by pass; there is none to show where no pass was made."""
    return lambda path: getattr(path, name) if path.aging_passes else None


def _rows() -> list[_Row]:
    def whole(value: float) -> str:
        return f"{value:,.0f}"

    return [
        ("guest accesses per second", lambda p: p.guest_accesses_per_s, si),
        ("  by CPU time of the vCPUs", lambda p: p.guest_accesses_per_cpu_s, si),
        ("aging passes", lambda p: p.aging_passes, whole),
        ("aging, ns per entry", lambda p: p.aging_ns_per_pte, lambda v: f"{v:.1f}"),
        ("vCPU time waiting for mmu_lock", lambda p: p.lock_wait_share, percent),
        ("vCPU time waiting for swap", lambda p: p.swap_wait_share, percent),
        ("vCPU time reclaiming by itself", lambda p: p.reclaim_share, percent),
        ("guest faults", lambda p: p.faults, whole),
        ("pages evicted", lambda p: p.evicted, whole),
        ("refaults", lambda p: p.refaults, whole),
        ("  per million accesses", _refault_rate, lambda v: f"{v:,.0f}"),
        ("pages truly touched, by pass", _if_aged("young_true"), whole),
        ("  of them reported young", _if_aged("young_agreed"), whole),
        ("pages reported young", _if_aged("young_reported"), whole),
        ("wrong values read", lambda p: float(p.mismatches), whole),
    ]


def _table(result: RunResult, colour: bool) -> list[str]:
    names = [path.path for path in result.paths]
    ratio = _ratio_pair(names)
    header = ["", *names, *([f"{ratio[1]} / {ratio[0]}"] if ratio else [])]
    rows = []
    for title, value, show in _rows():
        cells = [_cell(value(path), show) for path in result.paths]
        if ratio:
            floor = SMALL_SHARE if show is percent else 0.0
            cells.append(_ratio(result, ratio, value, floor))
        rows.append([title, *cells])
    return text_table(header, rows, bold=colour)


def _ratio_pair(names: Sequence[str]) -> tuple[str, str] | None:
    """Base and compared path, where two were run."""
    for base in ("locked", "none"):
        if "lockless" in names and base in names:
            return base, "lockless"
    return ("none", "locked") if {"none", "locked"} <= set(names) else None


def _cell(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _ratio(
    result: RunResult,
    pair: tuple[str, str],
    value: Callable[[PathResult], float | None],
    floor: float,
) -> str:
    """Median of the ratios of rounds that were taken in the same turn."""
    vcpus = result.machine.vcpus
    turns = zip(*(result.path(name).rounds for name in pair), strict=False)
    found = []
    for turn in turns:
        base, other = (value(summarise(r.path, [r], vcpus)) for r in turn)
        if base is not None and other is not None and base > floor:
            found.append(other / base)
    return f"{median(found):.2f}" if found else "-"


def _generations(
    path: PathResult, result: RunResult, *, colour: bool, unicode: bool
) -> list[str]:
    samples = path.rounds[-1].generations if path.rounds else ()
    if not samples:
        return []
    drawn = draw_stacked(
        [_stack(sample) for sample in samples],
        _LAYERS,
        total=result.pages,
        height=CHART_HEIGHT,
        width=CHART_WIDTH,
        colour=colour,
        unicode=unicode,
    )
    label = f"{path.path}: pages by generation over {samples[-1].at_s:.2g} s"
    bar = "│" if unicode else "|"
    top = f"{result.pages:,}"
    margins = [top, *[""] * (CHART_HEIGHT - 2), "0"]
    lines = [label]
    for margin, line in zip(margins, drawn, strict=True):
        lines.append(f"{margin.rjust(len(top))} {bar}{line}".rstrip())
    return [*lines, ""]


def _stack(sample: GenerationSample) -> list[int]:
    """Amounts from the ground up: oldest .. youngest, evicted; absent generations are 0.

    With two generations these are the younger two of the four.
    """
    pages = list(sample.pages[:4]) + [0] * (4 - len(sample.pages))
    return [*reversed(pages), sample.evicted]


def _notes(result: RunResult) -> list[str]:
    notes = [f"WRONG: {failure}" for failure in result.failures]
    wrong = sum(path.mismatches for path in result.paths)
    if wrong:
        notes.append(f"WRONG: {wrong:,} reads did not give what was written last.")
    loud = [path for path in result.paths if path.spread > 1.5]
    if loud:
        names = ", ".join(f"{path.path} {path.spread:.1f}x" for path in loud)
        notes.append(f"Rounds differ a lot (largest over smallest rate: {names}).")
    return ["", *notes] if notes else []
