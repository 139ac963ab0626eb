"""Pages, steps and files: what is written is read back; what makes no sense is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.base.errors import InputError, SourceError
from mkold.validate.draw import draw, draw_vm, read_step
from mkold.validate.pages import (
    bitmap,
    hex_bitmap,
    pages_of,
    pages_text,
    read_hex_bitmap,
    read_pages,
    runs,
)
from mkold.validate.script import Script, read_script, script_text
from mkold.validate.step import Step, chunks
from mkold.validate.topics import KINDS, topic_of
from mkold.validate.vm import GUESTS, Vm, vm_of

BITS = st.integers(0, (1 << 200) - 1)


@given(BITS)
def test_pages_are_read_back(bits: int) -> None:
    assert read_pages(pages_text(bits)) == bits
    assert read_hex_bitmap(hex_bitmap(bits, 200)) == bits
    assert bitmap(pages_of(bits)) == bits
    assert bitmap(page for first, end in runs(bits) for page in range(first, end)) == bits


def test_the_first_digit_has_the_first_pages() -> None:
    assert hex_bitmap(bitmap([0, 5]), 8) == "12"


@pytest.mark.parametrize("text", ["x", "3-", "5-3", "-1", "1-99999999"])
def test_what_is_no_page_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_pages(text)


@given(st.integers(0, 1000))
def test_steps_are_read_back(seed: int) -> None:
    for step in draw(40, Vm(70), seed):
        assert read_step(str(step)) == step
        assert step.pages >> 70 == 0


def test_a_guest_touches_what_it_has() -> None:
    for seed in range(20):
        vm = draw_vm(64, seed)
        slots = vm.slots
        assert slots >> 64 == 0
        assert len(list(runs(slots))) <= 4
        for step in draw(60, vm, seed):
            assert not (slots and step.name.startswith("guest-") and step.pages & ~slots)


@pytest.mark.parametrize("guest", GUESTS)
def test_every_kind_is_drawn_and_a_seed_says_which(guest: str) -> None:
    vm = Vm(64, guest=guest, log="manual")
    steps = draw(800, vm, 3)
    assert {step.name for step in steps} == {name for name in KINDS if topic_of(name, vm)}
    assert steps == draw(800, vm, 3) != draw(800, vm, 4)


def test_only_the_log_that_a_host_has_is_drawn() -> None:
    names = {step.name for step in draw(800, Vm(64, log="plain"), 3)}
    assert "get-dirty-log" in names
    assert "clear-dirty-log" not in names
    assert not any("log" in step.name for step in draw(800, Vm(64), 3))
    assert {draw_vm(64, seed, log="plain").log for seed in range(20)} == {"", "plain"}
    assert {draw_vm(64, seed).log for seed in range(20)} == {""}


@pytest.mark.parametrize(
    "text",
    ["", "guest-jump 3", "clear-young 1,3 by 2", "guest-read 1-4 by 2", "clear-young 1 by"],
)
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_step(text)


def test_ranges_end_with_the_pages() -> None:
    assert chunks(Step("clear-young", bitmap(range(2, 9)), by=3)) == [(2, 5), (5, 8), (8, 9)]
    assert chunks(Step("clear-young", bitmap([1, 4]))) == [(1, 2), (4, 5)]


def test_scripts_and_recordings_are_read_back(tmp_path: Path) -> None:
    steps = tuple(draw(9, Vm(40), 1))
    answers = tuple({"young": 1 << (at // 2), "host": 3} for at in range(9))
    script = Script("power9", "6.12", Vm(40), steps, "6.12.95", answers)
    vm = next(vm for vm in (draw_vm(40, seed) for seed in range(9)) if vm.slots)
    holes = replace(script, vm=vm, steps=tuple(draw(9, vm, 1)), answers=None)
    hash_vm = replace(vm, guest="hash")
    other = replace(script, vm=hash_vm, steps=tuple(draw(9, hash_vm, 2)), answers=None)
    log = Vm(40, log="manual")
    logged = replace(script, vm=log, steps=tuple(draw(9, log, 1)))
    bare = replace(script, answers=None, release="")
    for written in (script, bare, holes, other, logged):
        (tmp_path / "x").write_text(script_text(written))
        assert read_script(tmp_path / "x") == written


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("host power9\npages 9\n\nguest-read 3\n    young xyz\n", "no bitmap", 5),
        ("host power9\npages 9\n\nguest-jump 3\n", "names are", 4),
        ("host power9\npages none\n", "no number", 2),
        ("host power9\nplanet earth\n", "the head", 2),
        ("host power9\npages 9\n\n    young 1\n", "no answer", 4),
    ],
)
def test_a_wrong_line_is_shown(tmp_path: Path, text: str, reason: str, line: int) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(SourceError, match=reason) as caught:
        read_script(tmp_path / "x")
    assert caught.value.pos.line == line


@pytest.mark.parametrize(
    "text",
    [
        "pages 9\n\n",
        "host power9\npages 3\n\nguest-read 3\n",
        "host power9\npages 9\nslots 0-1\n\nguest-read 3\n",
        "host power9\npages 9\nslots 0-20\n\nguest-read 0\n",
        "host power9\npages 9\nguest moon\n\nguest-read 0\n",
        "host power9\npages 9\n\nalias-read 0\n",
        "host power9\npages 9\nlog perhaps\n\nguest-read 0\n",
        "host power9\npages 9\n\nget-dirty-log 0\n",
        "host power9\npages 9\nlog plain\n\nclear-dirty-log 0\n",
    ],
)
def test_a_file_that_lacks_something_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(InputError):
        read_script(tmp_path / "x")


def test_eviction_is_about_a_number_of_pages() -> None:
    step = read_step("evict by 12")
    assert (step.name, step.pages, step.by) == ("evict", 0, 12)
    assert read_step(str(step)) == step
    assert read_step(str(replace(step, by=1))).by == 1
    for wrong in ("evict 3-5", "evict by none", "guest-read by 3"):
        with pytest.raises(InputError):
            read_step(wrong)


def test_a_vcpu_that_runs_on_has_base_pages() -> None:
    with pytest.raises(InputError, match="base pages only"):
        vm_of({"pages": "64", "running": "yes", "huge": "yes"})
