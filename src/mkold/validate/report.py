"""What validation found: in words, and as JSON of the schema ``mkold.validate/1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mkold.validate.compare import ANSWER, Difference
from mkold.validate.pages import pages_text
from mkold.validate.session import HostResult, WayResult

SCHEMA = "mkold.validate/1"
_WHAT = {
    ANSWER: "the answer to it",
    "young": "which pages are young in the guest's table",
    "host": "which of the process's own entries have the accessed bit",
    "present": "which of the process's own entries are present",
    "swapped": "which pages are in swap",
    "fresh": "which pages of its loop the guest sees as they are",
    "listed": "which pages are on a list of the LRU",
    "behind-1": "how many generations behind the youngest, odd or even",
    "behind-2": "how many generations behind the youngest, two or more",
}
MOST_PAGES = 60


def validate_text(results: Sequence[HostResult], saved: dict[int, str]) -> str:
    """For a reader. ``saved`` is where the script of a difference went, by its identity."""
    lines = []
    for result in results:
        release = result.recording.release or "an unknown release"
        lines.append(f"{result.host}, Linux {release}: {len(result.recording.steps)} steps")
        if result.boot_s:
            lines.append(f"  booted in {result.boot_s:.1f} s, steps in {result.real_s:.1f} s")
        for way in result.ways:
            lines += _way_lines(way, saved)
    n_bitmaps = sum(way.comparison.n_bitmaps for r in results for way in r.ways)
    n_wrong = sum(len(way.comparison.differences) for r in results for way in r.ways)
    lines.append("")
    if n_wrong:
        lines.append(f"{n_bitmaps:,} bitmaps compared: mkold's system and Linux differ")
    else:
        lines.append(f"{n_bitmaps:,} bitmaps compared, 0 differ")
    return "\n".join(lines)


def _way_lines(way: WayResult, saved: dict[int, str]) -> list[str]:
    compared = way.comparison
    lines = [
        f"  {way.system}: {compared.n_bitmaps:,} bitmaps, "
        f"{len(compared.differences)} differ, {way.seconds:.1f} s"
    ]
    if way.found:
        lines += [f"    {line}" for line in _difference_lines(way.found.difference)]
        lines.append(f"    shortest sequence: {len(way.found.script.steps)} steps")
        lines += [f"      {step}" for step in way.found.script.steps[-20:]]
        if id(way.found) in saved:
            lines.append(f"    again: mkold validate {saved[id(way.found)]}")
    return lines


def _difference_lines(difference: Difference) -> list[str]:
    what = _WHAT.get(difference.what, difference.what)
    only_real = pages_text(difference.real & ~difference.system)
    only_system = pages_text(difference.system & ~difference.real)
    return [
        f"step {difference.at + 1}, {str(difference.step)[:80]}: {what}",
        f"Linux alone: {only_real[:MOST_PAGES] or 'none'}; "
        f"mkold alone: {only_system[:MOST_PAGES] or 'none'}",
    ]


def validate_json(results: Sequence[HostResult], saved: dict[int, str]) -> dict[str, Any]:
    """For programs."""
    return {
        "schema": SCHEMA,
        "agrees": not any(result.differs for result in results),
        "hosts": [_host_json(result, saved) for result in results],
    }


def _host_json(result: HostResult, saved: dict[int, str]) -> dict[str, Any]:
    return {
        "host": result.host,
        "kernel": result.kernel,
        "release": result.recording.release,
        "pages": result.recording.vm.n_pages,
        "steps": len(result.recording.steps),
        "boot_s": result.boot_s,
        "real_s": result.real_s,
        "systems": [_way_json(way, saved) for way in result.ways],
    }


def _way_json(way: WayResult, saved: dict[int, str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "system": way.system,
        "way": way.way,
        "bitmaps": way.comparison.n_bitmaps,
        "differ": len(way.comparison.differences),
        "seconds": way.seconds,
    }
    if way.found:
        difference = way.found.difference
        body["difference"] = {
            "step": str(difference.step),
            "what": difference.what,
            "linux_alone": pages_text(difference.real & ~difference.system),
            "mkold_alone": pages_text(difference.system & ~difference.real),
            "script": [str(step) for step in way.found.script.steps],
            "saved": saved.get(id(way.found), ""),
        }
    return body
