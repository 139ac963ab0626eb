"""``--needed`` on examples whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_needed import BITS, FENCES, FULL, LOCKED, RELEASE

from mkold.check import Claim, Swap, decide, load
from mkold.check.many import Limits
from mkold.check.needed.answer import Need, needed
from mkold.check.needed.weaker import weaker_forms
from mkold.ir.nodes import Op, walk
from mkold.ir.program import Program
from mkold.ir.variant import Site
from mkold.lkmm import Status, Verdict
from mkold.view.needed import needed_json, needed_text

LIMITS = Limits(jobs=2, timeout_s=20)


def answers(claim: Claim) -> dict[str, Need]:
    return {need.site.name: need for need in needed([claim], LIMITS).needs}


def verdict(claim: Claim, place: str) -> tuple[str, str]:
    need = answers(claim)[place]
    return need.verdict, need.form


def test_both_fences_of_message_passing_are_needed() -> None:
    assert verdict(FENCES, "send_wmb:smp_wmb[0]") == ("needed", "smp_wmb")
    assert verdict(FENCES, "receive_rmb:smp_rmb[0]") == ("needed", "smp_rmb")


def test_marks_are_needed_where_plain_accesses_would_race() -> None:
    assert verdict(FENCES, "receive_rmb:READ_ONCE[0]")[0] == "needed"
    assert verdict(FENCES, "send_wmb:WRITE_ONCE[1]")[0] == "needed"


def test_the_message_itself_may_be_plain() -> None:
    assert verdict(FENCES, "send_wmb:WRITE_ONCE[0]") == ("not needed", "store")


def test_a_store_release_is_needed() -> None:
    need = answers(RELEASE)["send_release:smp_store_release[0]"]
    assert need.verdict == "needed"
    assert [b.form for b in need.breaks] == ["store", "WRITE_ONCE"]
    assert need.breaks[-1].broken == ("stale",)


def test_a_redundant_fence_is_not_needed() -> None:
    assert verdict(RELEASE, "receive_acquire:smp_mb[0]") == ("not needed", "dropped")


def test_an_acquire_backed_up_by_a_fence_may_be_once() -> None:
    place = "receive_acquire:smp_load_acquire[0]"
    assert verdict(RELEASE, place) == ("weaker would do", "READ_ONCE")


def test_a_full_fence_where_less_would_do() -> None:
    need = answers(FULL)["send_mb:smp_mb[0]"]
    assert (need.verdict, need.form) == ("weaker would do", "smp_wmb")
    assert [b.form for b in need.breaks] == ["dropped", "smp_rmb"]


def test_atomicity_counts_and_order_does_not() -> None:
    need = answers(BITS)["set_bit_twice:atomic_fetch_or[0]"]
    assert (need.verdict, need.form) == ("weaker would do", "atomic_fetch_or_relaxed")
    assert need.breaks[0].form == "READ_ONCE, WRITE_ONCE"
    assert need.breaks[0].broken == ("bit-lost",)


def test_a_lock_that_another_function_releases() -> None:
    need = answers(LOCKED)["lock_box:spin_lock[0]"]
    assert need.verdict == "needed"
    assert need.breaks[0].broken == ("data-race",)


def test_the_text_names_the_claim() -> None:
    text = needed_text(needed([FENCES], LIMITS))
    assert "small_needed.py\n  send_wmb\n" in text
    assert "dropped: stale in fences" in text


def test_the_values() -> None:
    body = needed_json(needed([BITS], LIMITS))
    assert body["schema"] == "mkold.needed/3"
    (place,) = body["places"]
    assert place["verdict"] == "weaker would do"
    assert place["breaks"][0]["claim"] == "bits"


# -- what is not proved is not advised ------------------------------------------------------


@pytest.mark.slow
def test_a_hang_is_a_reason() -> None:
    path = Path(__file__).parents[2] / "docs/gallery/mcs_lock.py"
    (fixed,) = load.select(load.from_file(path), ["fixed"])
    need = {n.site.prim: n for n in needed([fixed], replace(LIMITS, engine="sat")).needs}[
        "xchg_release"
    ]
    assert need.verdict == "needed"
    assert "hang" in need.breaks[-1].broken


def undecided_without_fences(monkeypatch: pytest.MonkeyPatch, *, at_least: int) -> None:
    """From now on programs with fewer than ``at_least`` fences are not decided in time."""
    real = decide.lkmm.decide

    def fake(program: Program, **asked: Any) -> Verdict:
        inner = [s for f in program.functions.values() for s in walk(f.body)]
        fences = sum(isinstance(s, Op) and s.prim in ("smp_rmb", "smp_wmb") for s in inner)
        if fences < at_least:
            return Verdict(program.name, Status.TIMEOUT)
        return real(program, **asked)

    monkeypatch.setattr(decide.lkmm, "decide", fake)


def test_what_was_not_decided_is_listed_and_not_advised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undecided_without_fences(monkeypatch, at_least=2)
    found = needed([FENCES], LIMITS)
    need = {need.site.prim: need for need in found.needs}["smp_wmb"]
    assert need.verdict == "undecided"
    assert [(one.form, one.case) for one in need.open] == [("dropped", "as written")]
    assert "dropped undecided in fences, as written: no answer within 20 s" in needed_text(
        found
    )


def test_a_case_that_is_open_as_it_is_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    undecided_without_fences(monkeypatch, at_least=3)
    found = needed([FENCES], LIMITS)
    assert found.needs == ()
    assert [one.case for one in found.open] == ["as written"]
    assert "not decided as they are" in needed_text(found)
    assert needed_json(found)["open"][0]["claim"] == "fences"


def test_no_advice_where_every_case_leaves_a_property_aside() -> None:
    (case,) = RELEASE.cases
    aside = replace(case.scenario, ignore=frozenset({"hang"}))
    quiet = replace(RELEASE, cases=(replace(case, scenario=aside),))
    needs = {need.site.prim: need for need in needed([quiet], LIMITS).needs}
    assert needs["smp_mb"].verdict == "undecided"
    assert needs["smp_mb"].aside == ("hang",)
    assert needs["smp_store_release"].verdict == "needed"
    both = replace(RELEASE, cases=(*RELEASE.cases, *quiet.cases))
    assert {need.site.prim: need for need in needed([both], LIMITS).needs}[
        "smp_mb"
    ].verdict == "not needed"


def test_a_case_about_some_properties_is_asked_about_all_that_held() -> None:
    """The race is there as it is and doesn't count; a stale read does, though not asked for."""
    (case,) = FENCES.cases
    plain = Swap("send_wmb:WRITE_ONCE[1]", "store")
    assert needed([replace(FENCES, cases=(replace(case, edits=(plain,)),))], LIMITS).needs == ()
    asked = replace(FENCES, cases=(replace(case, only=frozenset({"data-race"})),))
    need = {need.site.prim: need for need in needed([asked], LIMITS).needs}["smp_wmb"]
    assert need.breaks[-1].broken == ("stale",)


def test_a_part_of_a_word_has_no_plain_store() -> None:
    """A release store of a byte: relaxed will not do, and plainly it cannot be said."""
    place = Site("f", "smp_store_release", 0, width=8, shift=8)
    assert [form.label for form in weaker_forms(place, [])] == ["WRITE_ONCE"]
    assert weaker_forms(Site("f", "WRITE_ONCE", 0, width=8, shift=8), []) == ()
    assert [form.label for form in weaker_forms(Site("f", "WRITE_ONCE", 0), [])] == ["store"]
