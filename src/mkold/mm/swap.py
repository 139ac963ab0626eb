"""Swap: where evicted pages go, what coming back costs, and how a refault is told.

Rules
-----
* Every host page has one slot of the swap area, by its number; a slot stays valid while
  the page in memory is clean, so a clean page is evicted without a write.
* The entry left behind holds the shadow: ``min_seq`` at eviction, and what is known of the
  page's use. A fault that brings the page back is a *refault* (``workingset.py``).
* Reading costs ``node.swap_cycles``, waited for on the faulting CPU with no lock held; it
  does not give the CPU away, so that the wait is as long as stated on a busy machine too.
  Writing back costs the host's reclaim only the copy (it is asynchronous in a real
  host, so the device's write bandwidth is not modelled).

Source: mm/swapfile.c, mm/workingset.c (lru_gen_refault), mm/page_io.c.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    cast,
    get_cycles,
    kernel,
    u64,
)
from mkold.mm.mm_types import (
    PAGE_SHIFT,
    PTE_SWAP,
    Mm,
    Node,
)

SHADOW_REFS = 0x3
SHADOW_SEQ_SHIFT = 2
SHADOW_WORKINGSET = 1 << 60


@kernel
def make_swap_pte(min_seq: u64, refs: u64, workingset: u64) -> u64:
    """The entry of a page that went to swap while ``min_seq`` was the oldest generation."""
    mark: u64 = SHADOW_WORKINGSET if workingset else 0
    token: u64 = (min_seq << SHADOW_SEQ_SHIFT) | refs
    return PTE_SWAP | mark | (token & (SHADOW_WORKINGSET - 1))


@kernel
def copy_page(to: u64, source: u64) -> None:
    """Copy one page, given word addresses."""
    target = cast(Ptr[u64], to)
    origin = cast(Ptr[u64], source)
    for i in range(1 << PAGE_SHIFT):
        target[i] = origin[i]


@kernel
def clear_page(to: u64) -> None:
    """Zero one page, given its word address."""
    target = cast(Ptr[u64], to)
    for i in range(1 << PAGE_SHIFT):
        target[i] = 0


@kernel
def swap_slot(mm: Ptr[Mm], page: u64) -> u64:
    """Word address of the page's slot."""
    return mm.swap_area + ((page - mm.vma_start) << PAGE_SHIFT)


@kernel
def swap_writepage(mm: Ptr[Mm], page: u64, pfn: u64) -> None:
    """Copy a frame to the page's slot; nobody else may touch the frame."""
    copy_page(swap_slot(mm, page), pfn << PAGE_SHIFT)


@kernel
def swap_readpage(mm: Ptr[Mm], page: u64, pfn: u64) -> None:
    """Copy the page's slot to a fresh frame."""
    copy_page(pfn << PAGE_SHIFT, swap_slot(mm, page))


@kernel
def wait_for_swap(node: Ptr[Node]) -> u64:
    """Wait as long as one read takes; returns the cycles waited."""
    began = get_cycles()
    while True:
        waited = get_cycles() - began
        if waited >= node.swap_cycles or READ_ONCE(node.stop):
            return waited
