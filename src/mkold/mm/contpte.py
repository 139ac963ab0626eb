"""Contiguous mappings: blocks of a table's entries that count as one (``contpte``).

Rules
-----
* A *block* is ``CONT_PTES`` entries, aligned. A *folded* one has ``PTE_CONT`` in each, and they
  map frames of one large folio in order, with equal permissions.
* Splitting a huge entry leaves folded blocks. Who changes one entry unfolds its block first;
  who changes a block's last one folds it again, if it can be.
* Folding and unfolding gather the accessed and dirty bits of all, and give them to each.
* To read an entry is to gather them. To clear its accessed bit is to clear those of the block.
* The hardware sets the bit of one entry. An access fault, where there is no such hardware,
  makes all of the block young.

Only of arm64 since Linux 6.9 (``ARM64_CONTPTE``) with huge pages; elsewhere nothing is built.

Source: arch/arm64/mm/contpte.c, arch/arm64/include/asm/pgtable.h (set_ptes, contpte_try_fold).
Known limits: entries are not made invalid while they are converted, as nobody here holds a
translation of the process. An access fault makes the block young even if another entry of it
was, as kernels do that took up "fix set_access_flags() no-op check"; others fault for ever.
"""

from __future__ import annotations

from mkold.lang import READ_ONCE, Ptr, cast, kernel, parameter, u64
from mkold.mm.large_folio import folio_test_large
from mkold.mm.mm_types import (
    PTE_ACCESSED,
    PTE_CONT,
    PTE_DIRTY,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    TRANSPARENT_HUGEPAGE,
    Node,
)
from mkold.mm.pgtable import (
    HW_PTE_YOUNG,
    __ptep_test_and_clear_young,
    pte_pfn,
    set_pte,
)
from mkold.mm.rmap import pfn_folio

# How many entries a block has: by architecture and base page; 1: there are none.
CONT_PTES = parameter("CONT_PTES", 1)

# Whether the kernel folds entries of processes.
ARM64_CONTPTE = parameter("ARM64_CONTPTE", 0)

CONTPTE = TRANSPARENT_HUGEPAGE & ARM64_CONTPTE & (CONT_PTES != 1)
PTE_AD = PTE_ACCESSED | PTE_DIRTY


@kernel
def contpte_align_down(ptep: Ptr[u64]) -> Ptr[u64]:
    """The first entry of a block; a table is aligned to its length."""
    return cast(Ptr[u64], cast(u64, ptep) & ~(CONT_PTES - 1))


@kernel
def pte_valid_cont(pte: u64) -> bool:
    """Whether an entry belongs to a folded block."""
    return (pte & PTE_PRESENT) != 0 and (pte & PTE_CONT) != 0


@kernel
def contpte_gather(ptep: Ptr[u64]) -> u64:
    """The accessed and dirty bits of a block."""
    block = contpte_align_down(ptep)
    found: u64 = 0
    for i in range(CONT_PTES):
        found |= READ_ONCE(block[i])
    return found & PTE_AD


@kernel
def contpte_convert(ptep: Ptr[u64], cont: u64) -> None:
    """Fold a block (``cont`` is PTE_CONT) or unfold it (0); caller holds its table's lock."""
    block = contpte_align_down(ptep)
    bits = contpte_gather(ptep) | cont
    for i in range(CONT_PTES):
        set_pte(block + i, (READ_ONCE(block[i]) & ~PTE_CONT) | bits)


@kernel
def contpte_try_unfold(ptep: Ptr[u64]) -> None:
    """An entry is to be changed alone; caller holds its table's lock."""
    if CONTPTE and pte_valid_cont(READ_ONCE(ptep.value)):
        contpte_convert(ptep, 0)


@kernel
def contpte_can_fold(node: Ptr[Node], block: Ptr[u64]) -> bool:
    """Whether the entries map frames of one large folio in order, with equal permissions."""
    first = READ_ONCE(block[0]) & ~PTE_AD
    if not first & PTE_PRESENT or not folio_test_large(pfn_folio(node, pte_pfn(first))):
        return False
    different: u64 = 0
    for i in range(CONT_PTES):
        different |= (READ_ONCE(block[i]) & ~PTE_AD) ^ (first + (i << PTE_PFN_SHIFT))
    return different == 0


@kernel
def contpte_try_fold(node: Ptr[Node], ptep: Ptr[u64]) -> None:
    """An entry was changed alone; caller holds its table's lock."""
    if CONTPTE:
        block = contpte_align_down(ptep)
        if ptep == block + (CONT_PTES - 1) and contpte_can_fold(node, block):
            contpte_convert(ptep, PTE_CONT)


@kernel
def contpte_set_ptes(ptep: Ptr[u64], n: u64) -> None:
    """``n`` entries of one folio were changed at once: those blocks fold that lie in it whole.
    Caller holds their table's lock."""
    for i in range(n):
        whole = ptep + i == contpte_align_down(ptep + i) and i + CONT_PTES <= n
        if CONTPTE and whole:
            contpte_convert(ptep + i, PTE_CONT)


@kernel
def contpte_access_fault(ptep: Ptr[u64]) -> None:
    """The process uses what an entry maps; caller sets its own bits, and holds its table's
    lock."""
    pte: u64 = READ_ONCE(ptep.value) if CONTPTE and not HW_PTE_YOUNG else 0
    if pte_valid_cont(pte) and not pte & PTE_ACCESSED:
        block = contpte_align_down(ptep)
        for i in range(CONT_PTES):
            set_pte(block + i, READ_ONCE(block[i]) | PTE_ACCESSED)


@kernel
def ptep_get(ptep: Ptr[u64]) -> u64:
    """An entry with the accessed and dirty bits that count as its own."""
    pte = READ_ONCE(ptep.value)
    if CONTPTE and pte_valid_cont(pte):
        pte |= contpte_gather(ptep)
    return pte


@kernel
def contpte_ptep_test_and_clear_young(ptep: Ptr[u64]) -> bool:
    """Clear all accessed bits of a block; whether any was set."""
    block = contpte_align_down(ptep)
    young: u64 = 0
    for i in range(CONT_PTES):
        young |= __ptep_test_and_clear_young(block + i)
    return young != 0


@kernel
def ptep_test_and_clear_young(ptep: Ptr[u64]) -> bool:
    """Clear the host's own accessed bit, with those of its block; whether one was set."""
    if CONTPTE and pte_valid_cont(READ_ONCE(ptep.value)):
        return contpte_ptep_test_and_clear_young(ptep)
    return __ptep_test_and_clear_young(ptep)
