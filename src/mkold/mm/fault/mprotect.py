"""``mprotect(PROT_READ)``: pages stay, and may no longer be written.

What allows writing again needs no code of its own: the next write is a fault, which finds the
page's own frame and makes the entry writable (``do_wp_page``).

Source: mm/mprotect.c (change_pte_range).
Known limits: there is no permission of the VMA; a write in between is allowed by its fault.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    atomic_fetch_andnot_relaxed,
    kernel,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mm_types import PTE_PRESENT, PTE_WRITE, Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import pte_lockptr, pte_offset


@kernel
def change_pte(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> None:
    """Take write permission from one entry."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    if READ_ONCE(ptep.value) & PTE_PRESENT:
        atomic_fetch_andnot_relaxed(ptep.value, PTE_WRITE)
    spin_unlock(ptl.value)


@kernel
def mprotect_read(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """No page of ``[start, end)`` may be written without a fault, by host or guest."""
    mmu_notifier_invalidate_range_start(mm, start, end)
    for page in range(start, end):
        ptep = pte_offset(mm, page)
        if ptep != NULL:
            change_pte(mm, page, ptep)
    mmu_notifier_invalidate_range_end(mm, start, end)
