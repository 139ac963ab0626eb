"""``--needed`` on examples whose answer is known."""

from __future__ import annotations

from small_needed import BITS, FENCES, FULL, LOCKED, RELEASE

from mkold.check import Claim
from mkold.check.needed.answer import Need, needed
from mkold.view.needed import needed_json, needed_text


def answers(claim: Claim) -> dict[str, Need]:
    return {need.site.name: need for need in needed([claim], timeout_s=20)}


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
    text = needed_text(list(needed([FENCES], timeout_s=20)))
    assert "small_needed.py\n  send_wmb\n" in text
    assert "dropped: stale in fences" in text


def test_the_values() -> None:
    body = needed_json(list(needed([BITS], timeout_s=20)))
    assert body["schema"] == "mkold.needed/2"
    (place,) = body["places"]
    assert place["verdict"] == "weaker would do"
    assert place["breaks"][0]["claim"] == "bits"
