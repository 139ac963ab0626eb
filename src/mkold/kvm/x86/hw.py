"""The hardware: the MMU's walk of a second-level table, A and D, and the TLB fill.

Rules
-----
* The walk runs on the vCPU's thread in guest mode, lock free, while the host changes the
  tables.
* With accessed and dirty bits it sets A in every entry that it goes through, and D in the leaf
  for a write, each by a locked read-modify-write: a compare-and-swap, after which the entry is
  looked at again if that was lost. Here it orders nothing else, which is weaker than the
  machine.
* Without them (an A/D-disabled entry, ``KVM_AD_ENABLED`` 0) it sets nothing. Either way it
  faults where what it needs of R, W and X is missing.
* With PML it logs the page whose D it has set, unless it runs a guest of the guest.
* The TLB remembers the translation; a write needs D known set, so the first write after a read
  walks again. A large leaf fills the TLB one base page at a time.

Sources: Intel SDM volume 3, 30.3.2 to 30.3.6 (EPT, accessed and dirty flags, PML); AMD APM
volume 2, 15.25.
Known limits: no paging-structure caches; an entry's rights alone count, not those of the
tables above, which KVM never limits; the log of writes is drained at once.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.tlb import tlb_fill
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu, sp_spt
from mkold.kvm.x86.mmu.memslot import mark_page_dirty_in_slot
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    KVM_PAGES_PER_HPAGE,
    PG_LEVEL_4K,
    PT_ACCESS_MASK,
    PT_PRESENT_MASK,
    PT_WRITABLE_MASK,
    ROOT_LEVEL,
    SHADOW_ACCESSED_MASK,
    SHADOW_DIRTY_MASK,
    is_large_pte,
    spte_ad_enabled,
    spte_index,
    spte_to_child_pt,
    spte_to_pfn,
)
from mkold.kvm.x86.tdp.dirty import ENABLE_PML
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, try_cmpxchg_relaxed, u64


@kernel
def hw_log_write(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> None:
    """PML: the hardware has set D of the page's leaf."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot != NULL:
        mark_page_dirty_in_slot(slot, gfn)


@kernel
def hw_read_entry(sptep: Ptr[u64], level: u64, write: u64) -> tuple[u64, u64]:
    """Read an entry, and set A in it, and D if it is the leaf for a write; if it lets the
    access through.

    Returns
    -------
    the entry as it is then, and which bits this set
    """
    while True:
        spte = READ_ONCE(sptep.value)
        leaf = level == PG_LEVEL_4K or is_large_pte(spte)
        want: u64 = SHADOW_ACCESSED_MASK
        allow: u64 = PT_ACCESS_MASK
        if leaf:
            allow = PT_WRITABLE_MASK if write else PT_PRESENT_MASK
            want |= SHADOW_DIRTY_MASK if write else 0
        missing = want & ~spte
        if (
            not (spte & allow)
            or missing == 0
            or not KVM_AD_ENABLED
            or not spte_ad_enabled(spte)
        ):
            return spte, 0
        ok, _seen = try_cmpxchg_relaxed(sptep.value, spte, spte | missing)
        if ok:
            return spte | missing, missing


@kernel
def mmu_walk_tdp(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """Translate an access of the guest.

    Returns
    -------
    ok : 1 if translated, 0 if the hypervisor must handle a fault
    pfn : the frame
    """
    level: u64 = ROOT_LEVEL
    sptep = sp_spt(vcpu.arch.root) + spte_index(gfn, level)
    spte, was_set = hw_read_entry(sptep, level, write)
    while level > PG_LEVEL_4K and (spte & PT_ACCESS_MASK) and not is_large_pte(spte):
        level -= 1
        sptep = spte_to_child_pt(spte) + spte_index(gfn, level)
        spte, was_set = hw_read_entry(sptep, level, write)
    allow = PT_WRITABLE_MASK if write else PT_PRESENT_MASK
    if not (spte & allow):
        vcpu.arch.exit_qualification = spte & PT_ACCESS_MASK
        return 0, 0
    if ENABLE_PML and (was_set & SHADOW_DIRTY_MASK) and not vcpu.arch.guest_mode:
        hw_log_write(kvm, vcpu, gfn)
    pfn = spte_to_pfn(spte) + (gfn & (KVM_PAGES_PER_HPAGE(level) - 1))
    known_dirty = not KVM_AD_ENABLED or (spte & SHADOW_DIRTY_MASK) != 0
    tlb_fill(vcpu, gfn, pfn, (spte & PT_WRITABLE_MASK) != 0 and known_dirty)
    return 1, pfn
