"""The sentence at the end: the same from runs that differ in noise only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mkold.run.finding import notes, summary
from mkold.run.results import Comparison, PathResult, RunResult, TraceInfo
from mkold.run.spec import MachineSpec, RunSpec


def a_result(
    passes: tuple[float, float], speed: tuple[float, float], share: float = 0.2,
    name: str = "big", seen: float = 1.0, **machine: object,
) -> RunResult:  # fmt: skip
    """``passes`` and ``speed`` are the intervals of lockless over locked."""
    found = [
        Comparison(figure, "lockless", "locked", sum(interval) / 2, *interval)
        for figure, interval in (("aging_pass_ms", passes), ("guest_accesses_per_s", speed))
    ]
    figures: dict[str, float | None] = {"aging_core_share": share, "young_seen_share": seen}
    paths = tuple(PathResult(label, (), figures) for label in ("locked", "lockless"))
    spec = MachineSpec(**machine)  # type: ignore[arg-type]
    info = TraceInfo(name, "true", 40, 100, 5)
    return RunResult(info, spec, RunSpec(), 64, 40, 50, paths, 0.1, comparisons=tuple(found))


def test_noise_does_not_change_the_sentence() -> None:
    said = {
        summary([a_result((0.3, 0.5), (0.85, 1.06))]),
        summary([a_result((0.45, 0.97), (0.8, 1.3))]),
        summary([a_result((0.2, 0.9), (1.02, 1.4), share=0.05)]),
    }
    (sentence,) = said
    assert sentence.startswith("Found: a lockless pass takes less of the host's time")
    assert "Could not be told here: whether the guest's speed differs by a tenth" in sentence


def test_the_same_is_said_only_where_it_was_shown() -> None:
    shown = summary([a_result((0.3, 0.5), (0.95, 1.06))])
    assert "the guest's speed is the same within a tenth on big" in shown
    assert "told" not in shown


def test_rounds_that_are_too_short_are_told() -> None:
    result = a_result((0.4, 0.6), (0.9, 1.1))
    assert any("of the trace" in note for note in notes(replace(result, accesses=20)))
    asked = replace(result, spec=RunSpec(precision=0.02))
    assert any("not the 2% asked for" in note for note in notes(asked))


@pytest.mark.parametrize(("speed", "said"), [((1.2, 1.5), "faster"), ((0.5, 0.8), "slower")])
def test_an_effect_beyond_a_tenth_is_named(speed: tuple[float, float], said: str) -> None:
    assert f"over a tenth {said} with the lockless path" in summary(
        [a_result((0.4, 0.6), speed)]
    )


def test_where_aging_is_cheap_nothing_else_is_said_of_it() -> None:
    for interval in ((0.4, 0.6), (0.7, 1.3)):
        small = a_result(interval, (0.9, 1.1), share=0.004, name="small")
        sentence = summary([small, a_result((0.4, 0.6), (0.9, 1.1))])
        assert "on small either path ages for under 2 % of a core" in sentence
        assert "than a locked one on big;" in sentence


def test_what_hides_young_pages_is_said() -> None:
    hidden = notes(a_result((0.4, 0.6), (0.9, 1.1), seen=0.1, switch_interval_s=0.0))
    assert any("Only 10%" in note and "never emptied" in note for note in hidden)
    blind = notes(a_result((0.4, 0.6), (0.9, 1.1), seen=0.0))
    assert any("saw no page young" in note for note in blind)
    fits = notes(a_result((0.4, 0.6), (0.9, 1.1), memory_share=0.5))
    assert any("64 frames is the least" in note and "would be 20" in note for note in fits)
    assert any("fit the vCPU's TLB of 1,024 entries" in note for note in fits)
