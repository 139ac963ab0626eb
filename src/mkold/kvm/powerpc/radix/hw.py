"""The hardware: the MMU's walk of the partition-scoped tree, R and C, and the TLB fill.

Rules
-----
* The walk runs on the vCPU's thread in guest mode, lock free, while the host changes the
  tables: the VM's own tree or, while the vCPU runs a guest of the guest, that one's shadow.
* R is set by every walk, C by a walk for a write; both by one atomic update of the entry
  (relaxed: it orders nothing else). If the entry changed, the walk starts again.
* The TLB remembers the translation. A hit never looks at the entry, so an accessed bit
  cleared without a flush stays clear until the TLB entry goes away.
* A write needs C known set: the first write after a read walks again.
* A large leaf fills the TLB one base page at a time.

``HW_SETS_RC`` 0 is a machine that cannot update R and C itself: it faults
(``DSISR_SET_RC``) and ``fault.py`` sets them.

Sources: Power ISA 3.0B, Book III, 5.7.10 to 5.7.12; behaviour seen on POWER9 and POWER10.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_DIRTY,
    _PAGE_READ,
    _PAGE_WRITE,
    level_pages,
    pte_leaf,
    pte_pfn,
)
from mkold.kvm.powerpc.radix.walk import radix_walk
from mkold.kvm.tlb import tlb_fill
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    kernel,
    parameter,
    try_cmpxchg_relaxed,
    u64,
)

HW_SETS_RC = parameter("HW_SETS_RC", 1)


@kernel
def mmu_walk_hw(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """Translate an access of the guest.

    Returns
    -------
    ok : 1 if translated, 0 if the hypervisor must handle a fault
    pfn : the frame
    """
    nested = vcpu.arch.nested
    pgtable: Ptr[u64] = READ_ONCE(kvm.arch.pgtable)
    if nested != NULL:
        pgtable = nested.shadow_pgtable
    if pgtable == NULL:
        return 0, 0
    allow = _PAGE_WRITE if write else _PAGE_READ
    want = _PAGE_ACCESSED | (_PAGE_DIRTY if write else 0)
    while True:
        ptep, pte, level = radix_walk(pgtable, gfn)
        if not pte_leaf(pte) or not (pte & allow):
            return 0, 0
        if (pte & want) != want:
            if not HW_SETS_RC:
                return 0, 0
            ok, _seen = try_cmpxchg_relaxed(ptep.value, pte, pte | want)
            if not ok:
                continue
        pfn = pte_pfn(pte) + (gfn & (level_pages(level) - 1))
        bits = (pte | want) & (_PAGE_WRITE | _PAGE_DIRTY)
        tlb_fill(vcpu, gfn, pfn, bits == (_PAGE_WRITE | _PAGE_DIRTY))
        return 1, pfn
