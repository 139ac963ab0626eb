"""Bloom filters: the rates that mm/vmscan.c quotes, and no false negative."""

from __future__ import annotations

import random

import pytest

from mkold.ir.boot import BOOT_WORDS
from mkold.mm.mglru import bloom
from mkold.mm.mm_types import LruGen
from mkold.native import Image, Memory, build

IS_IN = "test_bloom_filter"


@pytest.fixture(scope="module")
def image() -> Image:
    return build([bloom.reset_bloom_filter, bloom.test_bloom_filter, bloom.update_bloom_filter])


@pytest.fixture
def memory() -> Memory:
    return Memory(BOOT_WORDS + LruGen.size)


def items(n: int, seed: int) -> list[int]:
    """Addresses of page tables: distinct, a table apart."""
    chance = random.Random(seed)
    return [512 * i for i in chance.sample(range(1 << 24), n)]


@pytest.mark.parametrize(("n", "rate"), [(10_000, 1 / 5), (20_000, 1 / 2)])
def test_false_positive_rate(image: Image, memory: Memory, n: int, rate: float) -> None:
    known = items(n + 4_000, seed=n)
    image.call("reset_bloom_filter", memory, 0, BOOT_WORDS, 5)
    for item in known[:n]:
        image.call("update_bloom_filter", memory, 0, BOOT_WORDS, 5, item)
    false = sum(image.call(IS_IN, memory, 0, BOOT_WORDS, 5, item) == 1 for item in known[n:])
    assert false / 4_000 == pytest.approx(rate, abs=0.03)


def test_no_false_negative(image: Image, memory: Memory) -> None:
    image.call("reset_bloom_filter", memory, 0, BOOT_WORDS, 5)
    for item in items(3_000, seed=1):
        image.call("update_bloom_filter", memory, 0, BOOT_WORDS, 5, item)
    assert all(
        image.call(IS_IN, memory, 0, BOOT_WORDS, 5, item) for item in items(3_000, seed=1)
    )


def test_a_filter_that_was_never_reset_says_yes(image: Image, memory: Memory) -> None:
    assert image.call(IS_IN, memory, 0, BOOT_WORDS, 5, 4096) == 1
    image.call("update_bloom_filter", memory, 0, BOOT_WORDS, 5, 4096)
    image.call("reset_bloom_filter", memory, 0, BOOT_WORDS, 5)
    assert image.call(IS_IN, memory, 0, BOOT_WORDS, 5, 4096) == 0


def test_the_two_filters_take_turns(image: Image, memory: Memory) -> None:
    for seq in (6, 7):
        image.call("reset_bloom_filter", memory, 0, BOOT_WORDS, seq)
    image.call("update_bloom_filter", memory, 0, BOOT_WORDS, 6, 4096)
    found = [image.call(IS_IN, memory, 0, BOOT_WORDS, seq, 4096) for seq in (6, 7, 8)]
    assert found == [1, 0, 1]
