"""What an hcall learns of the host's page table without leaving real mode: no fault, no lock.

Source: arch/powerpc/kvm/book3s_hv_rm_mmu.c, arch/powerpc/include/asm/kvm_book3s_64.h
(``kvmppc_read_update_linux_pte``).
"""

from __future__ import annotations

from mkold.lang import NULL, READ_ONCE, Ptr, kernel, try_cmpxchg_relaxed, u64
from mkold.mm.mm_types import PTE_ACCESSED, PTE_PRESENT, PTE_WRITE, Mm
from mkold.mm.pgtable import pte_offset, pte_pfn, vma_contains


@kernel
def kvmppc_read_update_linux_pte(mm: Ptr[Mm], hva: u64) -> tuple[u64, u64]:
    """The frame of ``hva`` if it is present, made young; an entry that may be written is
    always dirty (``mkold.mm.fault``).

    Returns
    -------
    pfn : 0 if it is not present
    writable : whether the guest may write to it
    """
    if not vma_contains(mm, hva):
        return 0, 0
    ptep = pte_offset(mm, hva)
    if ptep == NULL:
        return 0, 0
    pte = READ_ONCE(ptep.value)
    while pte & PTE_PRESENT:
        if pte & PTE_ACCESSED:
            return pte_pfn(pte), (pte & PTE_WRITE) != 0
        ok, seen = try_cmpxchg_relaxed(ptep.value, pte, pte | PTE_ACCESSED)
        pte = pte | PTE_ACCESSED if ok else seen
    return 0, 0
