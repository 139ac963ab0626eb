"""Frames of large folios: taken ``HPAGE_PMD_NR`` at once, given back one by one.

Rules
-----
* They lie apart, at ``node.huge_pfn``, and are not in the budget ``node.nr_free``.
* ``huge_used`` has a bit for each run of ``HPAGE_PMD_NR`` frames that is taken; ``huge_left``
  counts its frames that are in use. A run is free again when all its frames are.

Source: mm/page_alloc.c (a buddy of order 9, split and merged).
Known limits: at most 64 runs; a frame of a run that was split does not serve a small page.
"""

from __future__ import annotations

from mkold.lang import (
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    spin_lock,
    spin_unlock,
    u64,
    unpoison,
)
from mkold.mm.large_folio import HPAGE_PMD_NR
from mkold.mm.list import init_list_head
from mkold.mm.mm_types import NO_INDEX, PAGE_SHIFT, TRANSPARENT_HUGEPAGE, Node
from mkold.mm.page_alloc import page_poison, this_zone
from mkold.mm.swap import clear_page


@kernel
def huge_frames_init(node: Ptr[Node], first_pfn: u64, n_runs: u64, left: Ptr[u64]) -> None:
    """Boot: ``n_runs`` runs of frames from ``first_pfn`` on, which is a multiple of a run's
    length; ``left`` has a zeroed word for each."""
    node.huge_pfn = first_pfn
    node.n_huge = n_runs
    node.huge_left = left
    for pfn in range(first_pfn, first_pfn + n_runs * HPAGE_PMD_NR):
        page_poison(pfn)
        init_list_head(addr(node.folios[pfn - node.start_pfn].lru))


@kernel
def prep_compound_page(node: Ptr[Node], first: u64) -> None:
    """The run of frames from ``first`` on is one large folio, zeroed, mapped by nothing."""
    for pfn in range(first, first + HPAGE_PMD_NR):
        unpoison(cast(Ptr[u64], pfn << PAGE_SHIFT).value, 1 << PAGE_SHIFT)
        clear_page(pfn << PAGE_SHIFT)
        folio = node.folios + (pfn - node.start_pfn)
        folio.head = first
        WRITE_ONCE(folio.flags, 0)
        WRITE_ONCE(folio.index, NO_INDEX)
    node.folios[first - node.start_pfn].mapped = 0


@kernel
def alloc_huge(node: Ptr[Node]) -> u64:
    """The first frame of a new large folio; 0: there is none."""
    found = 0
    spin_lock(this_zone().lock)
    for i in range(node.n_huge):
        if not found and not (node.huge_used >> i) & 1:
            node.huge_used |= 1 << i
            node.huge_left[i] = HPAGE_PMD_NR
            found = node.huge_pfn + i * HPAGE_PMD_NR
    spin_unlock(this_zone().lock)
    if found:
        prep_compound_page(node, found)
    return found


@kernel
def is_huge_frame(node: Ptr[Node], pfn: u64) -> bool:
    """Whether ``pfn`` is one of these frames."""
    return TRANSPARENT_HUGEPAGE and pfn - node.huge_pfn < node.n_huge * HPAGE_PMD_NR


@kernel
def free_huge_frame(node: Ptr[Node], pfn: u64) -> None:
    """Give one frame back."""
    run = (pfn - node.huge_pfn) // HPAGE_PMD_NR
    node.folios[pfn - node.start_pfn].head = 0
    page_poison(pfn)
    spin_lock(this_zone().lock)
    node.huge_left[run] -= 1
    if node.huge_left[run] == 0:
        node.huge_used &= ~(1 << run)
    spin_unlock(this_zone().lock)


@kernel
def free_huge(node: Ptr[Node], first: u64) -> None:
    """Give a large folio's frames back."""
    for pfn in range(first, first + HPAGE_PMD_NR):
        free_huge_frame(node, pfn)
