"""Boot: the node and the process's mm, in zeroed memory, before anybody else runs.

Source: mm/mm_init.c, kernel/fork.c (mm_init).
"""

from __future__ import annotations

from mkold.lang import BUG_ON, WRITE_ONCE, Ptr, addr, kernel, u64
from mkold.mm.list import init_list_head
from mkold.mm.mm_types import NO_INDEX, PAGE_SHIFT, Folio, Mm, Node
from mkold.mm.page_alloc import alloc_page
from mkold.mm.swap import clear_page


@kernel
def node_init(
    node: Ptr[Node], folios: Ptr[Folio], start_pfn: u64, n_frames: u64, budget: u64
) -> None:
    """Set up the node: ``n_frames`` folios from ``start_pfn``, ``budget`` to be used.

    Watermarks are the caller's to set.
    """
    node.folios = folios
    node.start_pfn = start_pfn
    node.n_frames = n_frames
    for i in range(n_frames):
        init_list_head(addr(folios[i].lru))
        folios[i].index = NO_INDEX
    pfn = alloc_page()
    BUG_ON(pfn == 0)
    clear_page(pfn << PAGE_SHIFT)
    node.zero_pfn = pfn
    WRITE_ONCE(node.nr_free, budget)


@kernel
def mm_init(mm: Ptr[Mm], node: Ptr[Node], vma_start: u64, vma_pages: u64) -> None:
    """Set up the process: one VMA. Its tables, locks and swap area are the caller's."""
    mm.node = node
    mm.vma_start = vma_start
    mm.vma_pages = vma_pages
