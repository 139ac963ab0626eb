"""The report of ``mkold run``: what was run, a column per path, generations over time."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from mkold.base.shown import shown
from mkold.run.activity import WINDOWS
from mkold.run.figures import FIGURES, GUEST_RATE, PASS_MS, Figure
from mkold.run.finding import noise, notes, summary
from mkold.run.results import Comparison, GenerationSample, PathResult, RunResult
from mkold.run.saved import SLOWDOWN
from mkold.view.chart import Layer, draw_stacked, legend
from mkold.view.table import percent, si, text_table

WIDTH = 98
CHART_HEIGHT = 5
CHART_WIDTH = 60
# The ratio of two shares says nothing where the base is below this.
SMALL_SHARE = 0.001

# Bottom to top; the oldest generation lies on the ground, what was evicted on top.
LAYERS = (
    Layer("oldest", "░", ".", "34"),
    Layer("older", "▒", "-", "36"),
    Layer("younger", "▓", "+", "33"),
    Layer("youngest generation", "█", "#", "31"),
    Layer("not in memory", "·", " ", "90"),
)

_SHOW: dict[str, Callable[[float], str]] = {
    "rate": si,
    "count": lambda value: f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}",
    "ms": lambda value: f"{value:.3g}",
    "us": lambda value: f"{value:,.1f}",
    "ns": lambda value: f"{value:.1f}",
    "share": percent,
}


def run_text(
    results: Sequence[RunResult], *, colour: bool = False, unicode: bool = True
) -> str:
    """The whole report as text, guest after guest, with one sentence at the end."""
    lines: list[str] = []
    for result in results:
        lines += _guest(result, colour=colour, unicode=unicode)
    if any(path.rounds for result in results for path in result.paths):
        lines.append(legend(LAYERS, colour=colour, unicode=unicode))
    last = summary(results)
    return "\n".join([*lines, *(["", *_wrapped(shown(last))] if last else [])])


def guest_text(result: RunResult) -> str:
    """What is said of one guest, without pictures, in plain text."""
    lines = [*_heading(result, True), "", *_table(result, False), "", *_below(result)]
    for note in [*_wrong(result), *notes(result)]:
        lines += ["", *_wrapped(note)]
    return "\n".join(lines)


def _below(result: RunResult) -> list[str]:
    return [
        *_phases(result),
        *_noise(result),
        *_cost(result),
        *_policies(result),
        *_working_set(result),
    ]


def _phases(result: RunResult) -> list[str]:
    """The selftest's own report: seconds of each phase, a column per path."""
    if not result.phases:
        return []
    header = ["phases of the selftest, s", *(phases.path for phases in result.phases)]
    rows = []
    for name in result.phases[0].seconds:
        values = [phases.seconds[name] for phases in result.phases]
        rows.append([name, *("-" if value is None else f"{value:.4g}" for value in values)])
    return [*text_table(header, rows), ""]


def _working_set(result: RunResult) -> list[str]:
    if result.activity is None:
        return []
    listed = result.activity.in_words()
    return _wrapped(f"Working set in 1/{WINDOWS} of the trace, pages: {listed}.")


def _guest(result: RunResult, *, colour: bool, unicode: bool) -> list[str]:
    lines = [*_heading(result, unicode), "", *_table(result, colour), "", *_below(result), ""]
    for path in result.paths:
        if " #" not in path.path:
            lines += _generations(path, result, colour=colour, unicode=unicode)
    for note in [*_wrong(result), *notes(result)]:
        lines += _wrapped(note)
    return [*lines, ""]


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, subsequent_indent="  ", break_long_words=False)


def _heading(result: RunResult, unicode: bool) -> list[str]:
    trace, machine = result.trace, result.machine
    held = "" if result.frames < result.pages else ": no eviction"
    plural = "" if machine.vcpus == 1 else "s"
    micro = "µs" if unicode else "us"
    lines = [
        shown(f"{trace.name}: {trace.command}", most=96),
        f"{si(trace.accesses)} accesses to {trace.pages:,} pages; "
        f"{machine.vcpus} vCPU{plural}, "
        f"{result.frames:,} frames for {result.pages:,} pages of {machine.page_size}{held}",
        f"aging every {machine.interval_s * 1e3:g} ms, swap {machine.swap_latency_us:g} "
        f"{micro}, clear by {machine.clear}; memory as in Linux {machine.mm}",
        _rounds(result),
    ]
    if machine.nesting:
        lines += _wrapped(f"nested: {machine.nesting.sentence}")
    lines.insert(
        3,
        f"KVM {machine.kernel} on {machine.arch}, {machine.mmu} MMU; {machine.tlb}; "
        f"seed {result.spec.seed}" + ("; threads pinned" if machine.pin else ""),
    )  # fmt: skip
    if machine.variant:
        lines.append(f"variant: {machine.variant}")
    return lines


def _rounds(result: RunResult) -> str:
    n = min((len(path.rounds) for path in result.paths), default=0)
    return (
        f"{n} round{'' if n == 1 else 's'} of {si(result.accesses)} accesses a vCPU "
        f"({result.times_through:.2g} of the trace)"
    )


def _table(result: RunResult, colour: bool) -> list[str]:
    shown_paths = [path for path in result.paths if " #" not in path.path]
    pair = _main_pair([path.path for path in shown_paths])
    header = ["", *(path.path for path in shown_paths)]
    if pair:
        header += [f"{pair[0]} / {pair[1]}", "95 % interval"]
    rows = []
    for figure in FIGURES:
        values = [path.figures.get(figure.key) for path in shown_paths]
        if any(values):
            cells = ["-" if v is None else _SHOW[figure.unit](v) for v in values]
            compared = _ratio(result, figure, pair) if pair else []
            rows.append([figure.title, *cells, *compared])
    shares = [path.least_share for path in shown_paths]
    if any(shares):
        cells = ["-" if share is None else f"{share:.0%}" for share in shares]
        rows.append(
            [f"least memory, {SLOWDOWN:.0%} slower", *cells, *(["-", ""] if pair else [])]
        )
    return text_table(header, rows, bold=colour)


def _main_pair(names: Sequence[str]) -> tuple[str, str] | None:
    """Compared path and base, where two were run."""
    for base in ("locked", "none"):
        if "lockless" in names and base in names:
            return "lockless", base
    return ("locked", "none") if {"none", "locked"} <= set(names) else None


def _ratio(result: RunResult, figure: Figure, pair: tuple[str, str]) -> list[str]:
    for c in result.compared(figure.key):
        if (c.path, c.base) == pair:
            base = result.path(c.base).figures[figure.key] or 0.0
            if figure.unit == "share" and base < SMALL_SHARE:
                break
            return [f"{c.ratio:.2f}", interval(c, "-")]
    return ["-", ""]


def interval(c: Comparison, to: str = " to ") -> str:
    """``0.32 to 0.91``, and that no difference was seen where it holds 1."""
    if c.low is None or c.high is None:
        return "too few rounds"
    none = " no difference" if to != "-" else " none seen"
    none = "" if c.interval.seen else none
    return f"{c.low:.2f}{to}{c.high:.2f}{none}"


def _noise(result: RunResult) -> list[str]:
    rate, passes = noise(result, GUEST_RATE), noise(result, PASS_MS)
    if rate is None:
        return []
    parts = [f"guest accesses per second {rate.ratio:.2f}, {interval(rate)}"]
    if passes is not None:
        parts.append(f"an aging pass {passes.ratio:.2f}, {interval(passes)}")
    return [*_wrapped(f"Noise, {rate.base} over itself: " + "; ".join(parts))]


def _cost(result: RunResult) -> list[str]:
    """What aging itself does to the guest, path by path."""
    found = [c for c in result.compared(GUEST_RATE) if c.base == "none"]
    if not found:
        return []
    parts = [f"{c.path} {c.ratio:.2f}, {interval(c)}" for c in reversed(found)]
    return _wrapped(
        "The guest's accesses per second over those without aging: " + "; ".join(parts)
    )


def _policies(result: RunResult) -> list[str]:
    """What other policies would miss where the paths have their refaults."""
    m = result.misses
    if m is None:
        return []
    lru, clock, least = (f"{n * result.times_through:,.0f}" for n in (m.lru, m.clock, m.min))
    return _wrapped(
        f"Beside the refaults, of one vCPU's work: LRU would miss {lru} times, clock {clock}, "
        f"and no policy less than {least} (MIN)."
    )


def _generations(
    path: PathResult, result: RunResult, *, colour: bool, unicode: bool
) -> list[str]:
    samples = path.rounds[-1].generations if path.rounds else ()
    if not samples:
        return []
    drawn = draw_stacked(
        [stack(sample) for sample in samples],
        LAYERS,
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


def stack(sample: GenerationSample) -> list[int]:
    """Amounts from the ground up: oldest .. youngest, evicted; absent generations are 0.

    With two generations these are the younger two of the four.
    """
    pages = list(sample.pages[:4]) + [0] * (4 - len(sample.pages))
    return [*reversed(pages), sample.evicted]


def _wrong(result: RunResult) -> list[str]:
    said = [f"WRONG: {failure}" for failure in result.failures]
    if result.mismatches:
        said.append(f"WRONG: {result.mismatches:,} reads did not give what was written last.")
    return said
