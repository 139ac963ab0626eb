"""Page-table entries and geometry of the powerpc partition-scoped radix tree.

One entry is one word (here in the machine's own byte order; big-endian on hardware).

======  ==================  =========================================
bit     mask                name
======  ==================  =========================================
63      0x8000000000000000  ``_PAGE_PRESENT`` (valid)
62      0x4000000000000000  ``_PAGE_PTE`` (leaf)
52..    page number         ``PTE_RPN_MASK``, from ``RADIX_RPN_SHIFT`` up
8, 7    0x100, 0x080        ``_PAGE_ACCESSED`` (R), ``_PAGE_DIRTY`` (C)
2, 1,0  4, 2, 1             read, write, exec
======  ==================  =========================================

A non-leaf entry holds the word address of the next table at bit 8 (hardware: its byte
address, 256-byte aligned, in the same bits; tables here need no such alignment).

Levels: 0 PTE, 1 PMD, 2 PUD, 3 PGD. A leaf may sit at levels 0 to 2. The index bits of each
level are build parameters: ``RADIX_4K`` and ``RADIX_64K`` are the two of the hardware
(leaves of 2 MiB and 1 GiB), ``RADIX_SMALL`` is one that a checker can explore.

Sources: arch/powerpc/include/asm/book3s/64/{pgtable.h,radix.h,radix-4k.h,radix-64k.h}.
"""

from __future__ import annotations

from mkold.lang import Ptr, cast, kernel, parameter, u64

_PAGE_PRESENT = 1 << 63
_PAGE_PTE = 1 << 62
_PAGE_ACCESSED = 0x100
_PAGE_DIRTY = 0x080
_PAGE_READ = 0x4
_PAGE_WRITE = 0x2
_PAGE_EXEC = 0x1

RADIX_PTE_INDEX_SIZE = parameter("RADIX_PTE_INDEX_SIZE", 9)
RADIX_PMD_INDEX_SIZE = parameter("RADIX_PMD_INDEX_SIZE", 9)
RADIX_PUD_INDEX_SIZE = parameter("RADIX_PUD_INDEX_SIZE", 9)
RADIX_PGD_INDEX_SIZE = parameter("RADIX_PGD_INDEX_SIZE", 13)
# Where the page number sits in a leaf: 12 with 4 KiB pages, 16 with 64 KiB pages.
RADIX_RPN_SHIFT = parameter("RADIX_RPN_SHIFT", 12)


def _geometry(pte: int, pmd: int, pud: int, pgd: int, rpn_shift: int) -> dict[str, int]:
    return {
        "RADIX_PTE_INDEX_SIZE": pte,
        "RADIX_PMD_INDEX_SIZE": pmd,
        "RADIX_PUD_INDEX_SIZE": pud,
        "RADIX_PGD_INDEX_SIZE": pgd,
        "RADIX_RPN_SHIFT": rpn_shift,
    }


RADIX_4K = _geometry(9, 9, 9, 13, 12)
RADIX_64K = _geometry(5, 9, 9, 13, 16)
RADIX_SMALL = _geometry(1, 1, 1, 1, 12)

# In pages: how far to shift a gfn to index the table of a level.
PMD_GFN_SHIFT = RADIX_PTE_INDEX_SIZE
PUD_GFN_SHIFT = PMD_GFN_SHIFT + RADIX_PMD_INDEX_SIZE
PGD_GFN_SHIFT = PUD_GFN_SHIFT + RADIX_PUD_INDEX_SIZE
# One past the largest gfn that the tree can map.
MAX_GFN = 1 << (PGD_GFN_SHIFT + RADIX_PGD_INDEX_SIZE)

PTE_RPN_MASK = (1 << 53) - (1 << RADIX_RPN_SHIFT)
TABLE_SHIFT = 8
TABLE_MASK = (1 << 62) - (1 << TABLE_SHIFT)


@kernel
def level_shift(level: u64) -> u64:
    """log2 of the pages that one entry at ``level`` maps."""
    if level == 0:
        return 0
    if level == 1:
        return PMD_GFN_SHIFT
    if level == 2:
        return PUD_GFN_SHIFT
    return PGD_GFN_SHIFT


@kernel
def level_pages(level: u64) -> u64:
    """Pages that one entry at ``level`` maps."""
    return 1 << level_shift(level)


@kernel
def ptrs_per_table(level: u64) -> u64:
    """Entries of a table at ``level``."""
    if level == 0:
        return 1 << RADIX_PTE_INDEX_SIZE
    if level == 1:
        return 1 << RADIX_PMD_INDEX_SIZE
    if level == 2:
        return 1 << RADIX_PUD_INDEX_SIZE
    return 1 << RADIX_PGD_INDEX_SIZE


@kernel
def table_index(gfn: u64, level: u64) -> u64:
    """Which entry of its table at ``level`` translates ``gfn``."""
    return (gfn >> level_shift(level)) & (ptrs_per_table(level) - 1)


@kernel
def pte_present(pte: u64) -> u64:
    """Whether ``pte`` maps or points to something."""
    return (pte & _PAGE_PRESENT) != 0


@kernel
def pte_leaf(pte: u64) -> u64:
    """Whether ``pte`` maps memory (at any level)."""
    return (pte & (_PAGE_PRESENT | _PAGE_PTE)) == (_PAGE_PRESENT | _PAGE_PTE)


@kernel
def pte_young(pte: u64) -> u64:
    """Whether the leaf ``pte`` is present and was accessed."""
    return (pte & (_PAGE_PRESENT | _PAGE_ACCESSED)) == (_PAGE_PRESENT | _PAGE_ACCESSED)


@kernel
def pte_mkold(pte: u64) -> u64:
    """``pte`` with the accessed bit clear."""
    return pte & ~_PAGE_ACCESSED


@kernel
def pte_pfn(pte: u64) -> u64:
    """The frame that the leaf ``pte`` maps (the first one, for a large leaf)."""
    return (pte & PTE_RPN_MASK) >> RADIX_RPN_SHIFT


@kernel
def pfn_pte(pfn: u64, bits: u64) -> u64:
    """A present leaf that maps ``pfn`` with permission and status ``bits``."""
    return _PAGE_PRESENT | _PAGE_PTE | (pfn << RADIX_RPN_SHIFT) | bits


@kernel
def table_entry(table: Ptr[u64]) -> u64:
    """The non-leaf entry that points to ``table``."""
    return _PAGE_PRESENT | (cast(u64, table) << TABLE_SHIFT)


@kernel
def entry_table(entry: u64) -> Ptr[u64]:
    """The table that a non-leaf ``entry`` points to."""
    return cast(Ptr[u64], (entry & TABLE_MASK) >> TABLE_SHIFT)
