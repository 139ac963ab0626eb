"""Many executions at once: packed states, pieces, limits of time, numbers of candidates."""

from __future__ import annotations

import pytest
from small import by_masks, program

from mkold.base.errors import LimitError
from mkold.lkmm import Observation, Status
from mkold.lkmm.masks import engine
from mkold.lkmm.masks.numbering import Numbering, from_bits, tile, to_bits
from mkold.lkmm.masks.valuations import add_states
from mkold.lkmm.states import PackedStates, StateSet

LETTERS = "abcdefghijklmnop"


def _ring(n: int, *, acquire: bool) -> tuple[str, ...]:
    """Load buffering round ``n`` threads."""
    load = "smp_load_acquire" if acquire else "READ_ONCE"
    return tuple(
        f"r1 = {load}({LETTERS[i]}); WRITE_ONCE({LETTERS[(i + 1) % n]}, 1)" for i in range(n)
    )


def _all_ones(n: int) -> str:
    return " ".join(f"{i}:r1=1" for i in range(n))


@pytest.mark.parametrize(("acquire", "n_states"), [(True, 4095), (False, 4096)])
def test_twelve_threads(acquire: bool, n_states: int) -> None:
    made = program(*_ring(12, acquire=acquire), exists=_all_ones(12))
    verdict = by_masks(made)
    assert isinstance(verdict.states, PackedStates)
    assert len(verdict.states) == len(set(verdict.states)) == n_states
    assert verdict.observation is (Observation.NEVER if acquire else Observation.SOMETIMES)
    assert list(verdict.states[:2]) == sorted(verdict.states)[:2]
    assert by_masks(made, states=False).n_candidates == 1


def test_pieces_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made = program(*_ring(6, acquire=True), "WRITE_ONCE(a, 2)", exists=_all_ones(6))
    whole = by_masks(made)
    monkeypatch.setattr(engine, "PIECE", 8)
    parts = by_masks(made)
    assert set(parts.states) == set(whole.states)
    assert parts.observation is whole.observation


def test_orders_by_numpy_and_by_hand_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = "spin_lock(l); r1 = READ_ONCE(x); WRITE_ONCE(x, {}); spin_unlock(l)"
    made = program(*(lock.format(i + 1) for i in range(4)), observed="x 0:r1 1:r1")
    by_hand = set(by_masks(made).states)
    monkeypatch.setattr("mkold.lkmm.masks.cohere.MANY", 2)
    assert set(by_masks(made).states) == by_hand
    assert len(by_hand) == len({(x, a, b) for x, a, b in by_hand})


def test_time_is_kept() -> None:
    adder = "r1 = atomic_fetch_add_relaxed(x, 1); r2 = READ_ONCE(x)"
    made = program(*[adder] * 8, observed="0:r1")
    verdict = by_masks(made, timeout_s=0.3)
    assert verdict.status is Status.TIMEOUT
    assert verdict.observation is None
    assert verdict.cpu_s < 3


def test_too_many_orders_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = program(*["WRITE_ONCE(x, 1)"] * 9, observed="x")
    monkeypatch.setattr("mkold.lkmm.masks.locations.MAX_ORDERS", 1000)
    with pytest.raises(LimitError, match="coherence orders"):
        by_masks(made)


def test_tiling_and_numbering() -> None:
    assert tile(0b01, 2, 10) == 0b0101010101
    numbering = Numbering()
    first, second = numbering.digit(3), numbering.digit(50)
    for digit, size, stride in ((first, 3, 1), (second, 50, 3)):
        chosen = 0b1011 & ((1 << size) - 1)
        expected = sum(
            1 << n for n in range(numbering.total) if chosen >> (n // stride % size) & 1
        )
        assert numbering.spread(digit, chosen) == expected
    assert from_bits(to_bits(0b1101001, 7)) == 0b1101001


def test_states_of_several_kinds_merge() -> None:
    full = (1 << 5000) - 1
    low = (1 << 2500) - 1
    found = StateSet()
    add_states(found, [{7: low, 9: full & ~low}, {1: full}], full, 5000)
    add_states(found, [{7: full}, {2: low, 3: full & ~low}], full, 5000)
    add_states(found, [{8: 1}, {1: 1}], 1, 1)
    assert list(found.listed()) == [(7, 1), (7, 2), (7, 3), (8, 1), (9, 1)]
