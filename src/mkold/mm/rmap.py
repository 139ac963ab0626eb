"""From a folio to the page-table entry that maps it, and undoing that mapping.

Rules
-----
* One process, and a folio is mapped at most once, so the reverse map is one word:
  ``folio.index``, set and cleared under the page-table lock.
* Whoever has isolated a folio (its generation is 0) owns it. ``madvise`` that unmaps an
  isolated folio leaves the frame to that owner, who sees NO_INDEX.

Source: mm/rmap.c (try_to_unmap_one, folio_referenced_one).
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    kernel,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mm_types import (
    NO_INDEX,
    PTE_DIRTY,
    PTE_WRITE,
    TRANSPARENT_HUGEPAGE,
    Folio,
    Mm,
    Node,
)
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import pte_lockptr, pte_offset, set_pte
from mkold.mm.swap import swap_writepage
from mkold.mm.workingset import lru_gen_eviction


@kernel
def pfn_folio(node: Ptr[Node], pfn: u64) -> Ptr[Folio]:
    """The folio of frame ``pfn``; of a large one, the first frame's."""
    folio = node.folios + (pfn - node.start_pfn)
    if TRANSPARENT_HUGEPAGE and folio.head:
        return node.folios + (folio.head - node.start_pfn)
    return folio


@kernel
def folio_pfn(node: Ptr[Node], folio: Ptr[Folio]) -> u64:
    """The frame number of ``folio``."""
    return (folio - node.folios) + node.start_pfn


@kernel
def folio_map(folio: Ptr[Folio], page: u64) -> None:
    """Record that ``page`` maps the folio; caller holds the ``ptl``."""
    WRITE_ONCE(folio.index, page)


@kernel
def try_to_unmap(node: Ptr[Node], mm: Ptr[Mm], folio: Ptr[Folio]) -> bool:
    """Take an isolated folio's content to swap and its mapping away.

    The secondary mapping goes first and can't come back until the end, so nobody writes
    to the frame while it is copied. A page that is clean, and could not be written since it
    came, keeps the copy it came from: a guest's write does not make the host's entry dirty.
    Returns False if ``madvise`` had already unmapped it; the frame is the caller's
    either way.
    """
    page = READ_ONCE(folio.index)
    if page == NO_INDEX:
        return False
    pfn = folio_pfn(node, folio)
    mmu_notifier_invalidate_range_start(mm, page, page + 1)
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    mapped = READ_ONCE(folio.index) == page
    if mapped:
        ptep = pte_offset(mm, page)
        if READ_ONCE(ptep.value) & (PTE_DIRTY | PTE_WRITE):
            swap_writepage(mm, page, pfn)
        set_pte(ptep, lru_gen_eviction(node, folio))
        WRITE_ONCE(folio.index, NO_INDEX)
    spin_unlock(ptl.value)
    mmu_notifier_invalidate_range_end(mm, page, page + 1)
    return mapped
