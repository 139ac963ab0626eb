"""Which entries are young: some share of all, by a hash of their number."""

from __future__ import annotations

from mkold.lang import kernel, u64


@kernel
def bench_is_young(n: u64, threshold: u64) -> u64:
    """Whether entry ``n`` is; ``threshold`` is the share of 2**32."""
    return ((n * 0x9E3779B97F4A7C15) & ((1 << 64) - 1)) >> 32 < threshold
