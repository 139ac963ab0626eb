"""Granules, levels, and where the root begins.

Levels count down to pages: 0 to 3, and 3 maps pages. Of a granule of ``1 << STAGE2_PAGE_SHIFT``
bytes a table resolves ``STAGE2_TABLE_SHIFT`` bits of the guest address. The root may be up to
``1 << STAGE2_CONCAT_BITS`` tables side by side, which saves a level.

======= ======================= ==================================================
granule blocks                  start level x tables at 32, 36, 40, 48, 52 bits
======= ======================= ==================================================
4 KiB   level 1 1 GiB, 2 2 MiB  2 x 4, 1 x 1, 1 x 2, 0 x 1, 0 x 16
16 KiB  level 2 32 MiB          2 x 1, 2 x 1, 2 x 16, 1 x 2, 0 x 1
64 KiB  level 2 512 MiB         2 x 1, 2 x 1, 2 x 1, 1 x 1, 1 x 1
======= ======================= ==================================================

Known limits: the entry format of LPA2 (52 bits with 4K and 16K) is not modelled, its geometry
is.

Sources: arch/arm64/include/asm/kvm_pgtable.h, stage2_pgtable.h (``stage2_pgtable_levels``),
Arm ARM D8.2 (concatenation).
"""

from __future__ import annotations

from mkold.lang import kernel, parameter, u64

STAGE2_PAGE_SHIFT = parameter("STAGE2_PAGE_SHIFT", 12)
STAGE2_TABLE_SHIFT = parameter("STAGE2_TABLE_SHIFT", 9)
STAGE2_IA_BITS = parameter("STAGE2_IA_BITS", 40)
STAGE2_CONCAT_BITS = parameter("STAGE2_CONCAT_BITS", 4)
# The highest level at which a leaf may be.
KVM_PGTABLE_MIN_BLOCK_LEVEL = parameter("KVM_PGTABLE_MIN_BLOCK_LEVEL", 1)

KVM_PGTABLE_LAST_LEVEL = 3
GFN_BITS = STAGE2_IA_BITS - STAGE2_PAGE_SHIFT


def _granule(shift: int, block_level: int, ia_bits: int) -> dict[str, int]:
    return {
        "STAGE2_PAGE_SHIFT": shift,
        "STAGE2_TABLE_SHIFT": shift - 3,
        "STAGE2_IA_BITS": ia_bits,
        "STAGE2_CONCAT_BITS": 4,
        "KVM_PGTABLE_MIN_BLOCK_LEVEL": block_level,
    }


STAGE2_4K = _granule(12, 1, 40)
STAGE2_16K = _granule(14, 2, 40)
STAGE2_64K = _granule(16, 2, 40)
# Two levels with two entries each: pages 0 to 3.
STAGE2_SMALL = {
    "STAGE2_PAGE_SHIFT": 12,
    "STAGE2_TABLE_SHIFT": 1,
    "STAGE2_IA_BITS": 14,
    "STAGE2_CONCAT_BITS": 0,
    "KVM_PGTABLE_MIN_BLOCK_LEVEL": 2,
}


@kernel
def stage2_pgtable_levels() -> u64:
    """Levels of the tree."""
    if GFN_BITS > 3 * STAGE2_TABLE_SHIFT + STAGE2_CONCAT_BITS:
        return 4
    if GFN_BITS > 2 * STAGE2_TABLE_SHIFT + STAGE2_CONCAT_BITS:
        return 3
    return 2


@kernel
def stage2_start_level() -> u64:
    """The root's level."""
    return 4 - stage2_pgtable_levels()


@kernel
def level_shift(level: u64) -> u64:
    """log2 of the pages that one entry at ``level`` maps."""
    return STAGE2_TABLE_SHIFT * (KVM_PGTABLE_LAST_LEVEL - level)


@kernel
def kvm_granule_pages(level: u64) -> u64:
    """Pages that one entry at ``level`` maps."""
    return 1 << level_shift(level)


@kernel
def walk_boundary(gfn: u64, level: u64) -> u64:
    """The first gfn behind what the entry of ``gfn`` at ``level`` covers."""
    shift = level_shift(level)
    return ((gfn >> shift) + 1) << shift


@kernel
def ptrs_per_table(level: u64) -> u64:
    """Entries of a table at ``level``: of all the tables of a root."""
    if level == stage2_start_level() and level_shift(level) + STAGE2_TABLE_SHIFT < GFN_BITS:
        return 1 << (GFN_BITS - level_shift(level))
    return 1 << STAGE2_TABLE_SHIFT


@kernel
def pgd_pages() -> u64:
    """Tables that lie side by side in the root."""
    return ptrs_per_table(stage2_start_level()) >> STAGE2_TABLE_SHIFT


@kernel
def table_index(gfn: u64, level: u64) -> u64:
    """Which entry of its table at ``level`` translates ``gfn``."""
    return (gfn >> level_shift(level)) & (ptrs_per_table(level) - 1)
