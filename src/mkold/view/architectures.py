"""``mkold run --arch all``: one line for each architecture, over the same guest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mkold.base.shown import shown
from mkold.run.figures import GUEST_RATE, PASS_MS, SEEN
from mkold.run.results import RunResult
from mkold.view.table import percent, si, text_table

NS, FAULTS = "aging_ns_per_pte", "faults"
HEADER = [
    "machine", "kernel", "accesses/s: none", "locked", "lockless",
    "ns an entry: locked", "lockless", "pass, lockless / locked", "seen young",
]  # fmt: skip


def architectures_text(results: Sequence[RunResult]) -> str:
    """The table; a path that a kernel does not have is ``-``."""
    first = results[0]
    head = [
        shown(f"{first.trace.name}: {first.trace.command}", most=96),
        f"{si(first.trace.accesses)} accesses to {first.trace.pages:,} pages; "
        f"{first.machine.vcpus} vCPU{'' if first.machine.vcpus == 1 else 's'}, "
        f"aging every {first.machine.interval_s * 1e3:g} ms, {first.machine.tlb}",
        "",
    ]
    wrong = [
        f"WRONG: {result.machine.arch}: {result.mismatches:,} reads did not give what was "
        f"written last; {'; '.join(result.failures) or 'no check failed'}"
        for result in results
        if result.wrong
    ]
    busy = list(dict.fromkeys(said for result in results for said in result.spoiled))[:1]
    table = text_table(HEADER, [_row(result) for result in results])
    return "\n".join([*head, *table, "", *wrong, *busy]).rstrip()


def _row(result: RunResult) -> list[str]:
    rates = [_cell(result, path, GUEST_RATE, si) for path in ("none", "locked", "lockless")]
    per_entry = [_cell(result, path, NS, "{:.1f}".format) for path in ("locked", "lockless")]
    seen = _cell(result, "lockless", SEEN, percent)
    if seen == "-":
        seen = _cell(result, "locked", SEEN, percent)
    return [
        result.machine.arch,
        result.machine.kernel,
        *rates,
        *per_entry,
        _ratio(result),
        seen,
    ]


def _cell(result: RunResult, name: str, figure: str, show: Callable[[float], str]) -> str:
    for path in result.paths:
        if path.path == name:
            value = path.figures.get(figure)
            return "-" if value is None else show(value)
    return "-"


def _ratio(result: RunResult) -> str:
    """What a lockless pass takes of a locked one, with its interval."""
    for c in result.compared(PASS_MS):
        if (c.path, c.base) == ("lockless", "locked"):
            among = "" if c.low is None else f" [{c.low:.2f}, {c.high:.2f}]"
            return f"{c.ratio:.2f}{among}"
    return "-"
