"""A variant's changes, shown in kernel Python."""

from __future__ import annotations

import pytest

from mkold.check import (
    Before,
    Drop,
    Exchange,
    Force,
    Scenario,
    Set,
    Setup,
    Skip,
    Split,
    Swap,
    load,
)
from mkold.check.changes import changes
from mkold.check.program import build, source_diff
from mkold.ir.variant import Edit
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    atomic_inc,
    cmpxchg,
    kernel,
    smp_mb,
    smp_store_release,
    u64,
    xchg,
)


@kernel
def helps(x: Ptr[u64]) -> None:
    """Nothing much."""
    WRITE_ONCE(x.value, 9)


@kernel
def writes(x: Ptr[u64], y: Ptr[u64]) -> u64:
    WRITE_ONCE(x.value, 1)
    smp_mb()
    smp_store_release(y.value, 2)
    if READ_ONCE(x.value) == 3:
        smp_mb()
    seen = cmpxchg(x.value, 1, 4)
    old = xchg(y.value, seen + 1)
    atomic_inc(x.value)
    helps(x)
    return old


def setup(m: Setup) -> None:
    m.thread("t", (writes, m.words(1, "x"), m.words(1, "y")))


SCENARIO = Scenario("edited", setup)

EDITS: list[tuple[tuple[Edit, ...], list[str]]] = [
    ((Drop("writes:smp_mb[0]"),), ["-    smp_mb()"]),
    # A block is never left empty.
    ((Drop("writes:smp_mb[1]"),), ["-        smp_mb()", "+        pass"]),
    (
        (Drop("writes:READ_ONCE"),),
        ["-    if READ_ONCE(x.value) == 3:", "+    if 0 == 3:"],
    ),
    (
        (Swap("writes:smp_store_release", "WRITE_ONCE"),),
        ["-    smp_store_release(y.value, 2)", "+    WRITE_ONCE(y.value, 2)"],
    ),
    (
        (Swap("writes:smp_store_release", "store"),),
        ["-    smp_store_release(y.value, 2)", "+    y.value = 2"],
    ),
    (
        (Swap("writes:READ_ONCE", "load"),),
        ["-    if READ_ONCE(x.value) == 3:", "+    if x.value == 3:"],
    ),
    (
        (Swap("writes:cmpxchg", "xchg"),),
        ["-    seen = cmpxchg(x.value, 1, 4)", "+    seen = xchg(x.value, 4)"],
    ),
    (
        (Split("writes:xchg"),),
        [
            "-    old = xchg(y.value, seen + 1)",
            "+    old = READ_ONCE(y.value)",
            "+    WRITE_ONCE(y.value, seen + 1)",
        ],
    ),
    (
        (Split("writes:atomic_inc"),),
        [
            "-    atomic_inc(x.value)",
            "+    old = READ_ONCE(x.value)",
            "+    WRITE_ONCE(x.value, old + 1)",
        ],
    ),
    (
        (Split("writes:cmpxchg"),),
        [
            "-    seen = cmpxchg(x.value, 1, 4)",
            "+    old = READ_ONCE(x.value)",
            "+    if old == 1:",
            "+        WRITE_ONCE(x.value, 4)",
            "+    seen = old",
        ],
    ),
    (
        (Force("writes:READ_ONCE", 1),),
        ["-    if READ_ONCE(x.value) == 3:", "+    if True:"],
    ),
    (
        (Exchange("writes:WRITE_ONCE", "writes:smp_mb[0]"),),
        ["+    smp_mb()", "-    smp_mb()"],
    ),
    (
        (Before("writes:smp_store_release", "writes:WRITE_ONCE"),),
        ["+    smp_store_release(y.value, 2)", "-    smp_store_release(y.value, 2)"],
    ),
    ((Skip("helps"),), ["+    return"]),
    (
        (Drop("writes:smp_mb[0]"), Drop("writes:WRITE_ONCE")),
        ["-    WRITE_ONCE(x.value, 1)", "-    smp_mb()"],
    ),
]


@pytest.mark.parametrize(("edits", "wanted"), EDITS, ids=lambda value: str(value)[:40])
def test_an_edit_is_shown_in_the_source(edits: tuple[Edit, ...], wanted: list[str]) -> None:
    text = source_diff(SCENARIO, edits)
    assert text.startswith("--- test_check_changes.py\n+++ test_check_changes.py\n")
    changed = [line for line in text.splitlines()[2:] if line[0] in "+-"]
    assert sorted(changed) == sorted(wanted)


def test_two_edits_that_meet_are_shown_as_they_are_decided() -> None:
    edits = (
        Exchange("writes:WRITE_ONCE", "writes:smp_mb[0]"),
        Drop("writes:smp_mb[0]"),
    )
    assert changes(build(SCENARIO).program.functions, edits) is None
    assert "--- writes" in source_diff(SCENARIO, edits)


@pytest.mark.slow
def test_all_shipped_variants_are_shown_in_kernel_python() -> None:
    shown = 0
    for claim in load.shipped():
        for case in claim.cases:
            if any(not isinstance(edit, Set) for edit in case.edits):
                functions = build(case.scenario).program.functions
                text = changes(functions, case.edits)
                assert text is not None, case.label
                assert ".py\n" in text
                shown += 1
    assert shown > 30


def test_a_build_parameter_is_shown_as_one() -> None:
    (claim,) = load.select(load.shipped(), ["4"])
    case = next(case for case in claim.cases if case.edits)
    assert source_diff(case.scenario, case.edits) == "build parameter CLEAR_YOUNG: 0 -> 1"
