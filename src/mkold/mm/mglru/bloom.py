"""Bloom filters that tell the aging walk which page tables are worth walking.

Rules
-----
* Two filters of 2**15 bits with two hashes, double-buffered by generation: the walk for
  ``max_seq`` reads filter ``max_seq % 2`` and feeds the other one, for the next walk;
  eviction's look-around feeds the current one.
* A filter that was never reset says "yes" to everything, so the first walk sees all.
* A false positive costs one needless table walk, a false negative can't happen.

Source: mm/vmscan.c, "Bloom filters" (false positives: about 1/5 at 10,000 entries, 1/2
at 20,000).
"""

from __future__ import annotations

from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, kernel, set_bit, u64
from mkold.mm.mm_types import BLOOM_WORDS, LruGen

BLOOM_FILTER_SHIFT = 15
BLOOM_MASK = (1 << BLOOM_FILTER_SHIFT) - 1
GOLDEN_RATIO_64 = 0x61C8864680B583EB


@kernel
def get_item_key(item: u64) -> tuple[u64, u64]:
    """Two bit numbers for ``item``."""
    key = (item * GOLDEN_RATIO_64) >> (64 - 2 * BLOOM_FILTER_SHIFT)
    return key & BLOOM_MASK, key >> BLOOM_FILTER_SHIFT


@kernel
def test_bloom_filter(lrugen: Ptr[LruGen], seq: u64, item: u64) -> bool:
    """Whether ``item`` may be in the filter of ``seq``."""
    if not READ_ONCE(lrugen.filter_valid[seq & 1]):
        return True
    a, b = get_item_key(item)
    in_a = READ_ONCE(lrugen.filters[seq & 1].bits[a >> 6]) >> (a & 63)
    in_b = READ_ONCE(lrugen.filters[seq & 1].bits[b >> 6]) >> (b & 63)
    return (in_a & in_b & 1) == 1


@kernel
def update_bloom_filter(lrugen: Ptr[LruGen], seq: u64, item: u64) -> None:
    """Put ``item`` into the filter of ``seq``."""
    if not READ_ONCE(lrugen.filter_valid[seq & 1]):
        return
    a, b = get_item_key(item)
    if not (READ_ONCE(lrugen.filters[seq & 1].bits[a >> 6]) >> (a & 63)) & 1:
        set_bit(lrugen.filters[seq & 1].bits[a >> 6], a & 63)
    if not (READ_ONCE(lrugen.filters[seq & 1].bits[b >> 6]) >> (b & 63)) & 1:
        set_bit(lrugen.filters[seq & 1].bits[b >> 6], b & 63)


@kernel
def reset_bloom_filter(lrugen: Ptr[LruGen], seq: u64) -> None:
    """Empty the filter of ``seq``; from then on it decides."""
    for i in range(BLOOM_WORDS):
        WRITE_ONCE(lrugen.filters[seq & 1].bits[i], 0)
    WRITE_ONCE(lrugen.filter_valid[seq & 1], 1)
