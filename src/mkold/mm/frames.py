"""The host's budget of frames for the guest, and taking and giving back one frame.

Rules
-----
* ``node.nr_free`` frames may still be taken (a memory group's limit: page tables and
  other kernel memory are not counted). The allocator itself always has that many.
* A taken frame's folio is on no list and mapped by nothing.

Source: mm/memcontrol.c (charge and uncharge).
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    atomic_add,
    kernel,
    try_cmpxchg_relaxed,
    u64,
)
from mkold.mm.large_frames import free_huge_frame, is_huge_frame
from mkold.mm.mm_types import NO_INDEX, TRANSPARENT_HUGEPAGE, Node
from mkold.mm.page_alloc import alloc_page, free_page


@kernel
def alloc_folio(node: Ptr[Node]) -> u64:
    """A frame of unknown content, or 0 when the budget is used up."""
    while True:
        left = READ_ONCE(node.nr_free)
        if left == 0:
            return 0
        ok, _seen = try_cmpxchg_relaxed(node.nr_free, left, left - 1)
        if ok:
            break
    pfn = alloc_page()
    if pfn == 0:
        atomic_add(node.nr_free, 1)
        return 0
    folio = node.folios + (pfn - node.start_pfn)
    WRITE_ONCE(folio.flags, 0)
    WRITE_ONCE(folio.index, NO_INDEX)
    return pfn


@kernel
def free_folio(node: Ptr[Node], pfn: u64) -> None:
    """Give a frame back; it is mapped by nothing and on no list."""
    if TRANSPARENT_HUGEPAGE and is_huge_frame(node, pfn):
        free_huge_frame(node, pfn)
        return
    free_page(pfn)
    atomic_add(node.nr_free, 1)
