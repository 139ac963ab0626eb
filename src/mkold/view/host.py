"""One page about a host: how its guests are aged, why, what it costs, what is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from mkold.base.shown import shown
from mkold.host.age import Pass
from mkold.host.costs import Costs, published
from mkold.host.facts import LRU_GEN_BITS, Facts
from mkold.host.paths import Path
from mkold.view.table import percent, si

WIDTH = 88
HEAD = 12


def host_text(
    facts: Facts, path: Path, costs: Costs, refused: Sequence[str], passes: Sequence[Pass] = ()
) -> str:
    """The page."""
    lines = [*_title(facts), "", path.sentence, *_list("because", path.because), ""]
    lines += [*_item("MGLRU", lru_gen(facts)), *_list("and", path.remarks)]
    lines += _generations(facts)
    lines += [*_item("others", _others(facts)), *_item("guests", _guests(facts)), ""]
    lines += [*_costs(facts, costs), ""]
    if path.missing:
        lines += ["What the lockless path lacks here:", *_list("", path.missing), ""]
    for one in passes:
        lines += _passed(one)
    if refused:
        lines += _item("unread", f"{', '.join(refused)}: run as root to have them counted in")
    return "\n".join(lines).rstrip()


def _title(facts: Facts) -> list[str]:
    cpu = f", {shown(facts.cpu, most=60)}" if facts.cpu else ""
    return [f"Linux {shown(facts.release, most=60)} on {facts.arch}{cpu}"]


def lru_gen(facts: Facts) -> str:
    """The state of the multi-generational LRU in words."""
    if facts.lru_gen is None:
        return "not in this kernel"
    parts = [name for bit, name in LRU_GEN_BITS.items() if facts.lru_gen & bit]
    ttl = f", min_ttl_ms {facts.min_ttl_ms}" if facts.min_ttl_ms else ""
    return f"enabled 0x{facts.lru_gen:04x} ({', '.join(parts) or 'off'}){ttl}"


def _generations(facts: Facts) -> list[str]:
    listed = [lruvec for lruvec in facts.lruvecs if lruvec.generations]
    if not listed:
        return []
    most = max(listed, key=lambda lruvec: lruvec.pages)
    oldest = max(generation.age_ms for generation in most.generations) / 1e3
    cgroups = _counted(len({lruvec.path for lruvec in listed}), "cgroup")
    return _item(
        "",
        f"{cgroups}; the largest, {most.path or '/'}, has {most.pages:,} pages in generations "
        f"of up to {oldest:.1f} s",
    )


def _others(facts: Facts) -> str:
    damon = f"DAMON: {', '.join(facts.damon)}" if facts.damon else "DAMON does not run"
    idle = "there is" if facts.page_idle else "there is no"
    swap = "swap" if facts.swap else "no swap: anonymous pages are never evicted"
    return f"{damon}; {idle} page_idle bitmap; {swap}"


def _guests(facts: Facts) -> str:
    if facts.guests is None:
        return "not known (debugfs)"
    if not facts.guests:
        return "none runs"
    vcpus = sum(guest.vcpus for guest in facts.guests)
    known = [guest.entries for guest in facts.guests if guest.entries is not None]
    looks = f"; a pass looks at {si(sum(known))} entries" if known else ""
    counted = f", {_counted(vcpus, 'vCPU')}" if vcpus else ""
    return f"{_counted(len(facts.guests), 'guest')}{counted}{looks}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _costs(facts: Facts, costs: Costs) -> list[str]:
    hours = costs.seconds / 3600
    span = f"{hours:.1f} h" if hours >= 1 else f"{costs.seconds:.0f} s"
    lines = [f"What it costs, counted over {span}:"]
    if not costs.reclaimed:
        lines += _item("reclaim", "nothing was reclaimed: nobody waits for aging's answers")
    else:
        scanned = costs.scanned / costs.reclaimed
        lines += _item(
            "reclaim", f"{si(costs.reclaimed)} pages, {scanned:.1f} looked at for each"
        )
        share = costs.refault_share or 0.0
        lines += _item(
            "refaults",
            f"{si(costs.refaults)} pages came back ({percent(share)} of what was reclaimed): "
            "what was thought idle and was not",
        )
    row = published(facts)
    if row is not None and facts.arch == "x86":
        vcpus, locked, lockless = row
        lines += _item(
            "elsewhere",
            f"a pass over {_counted(vcpus, 'vCPU')} of 1 GiB took {locked:.3g} s with the lock "
            f"and {lockless:.3g} s without (published, another machine)",
        )
    return lines


def _passed(one: Pass) -> list[str]:
    lines = [f"Aged {one.after.path or '/'}, node {one.after.node}, in {one.seconds:.4f} s:"]
    lines += [
        f"  generation {gen.seq}, {gen.age_ms} ms: {gen.anon} anon, {gen.file} file"
        for gen in one.after.generations
    ]
    return [*lines, ""]


def _list(head: str, items: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for i, item in enumerate(items):
        lines += _item(head if i == 0 else "", item)
    return lines


def _item(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        shown(text, most=2000), WIDTH, initial_indent=f"  {head:<{HEAD - 2}}",
        subsequent_indent=" " * HEAD, break_long_words=False,
    )  # fmt: skip
