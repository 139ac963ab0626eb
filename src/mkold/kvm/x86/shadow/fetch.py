"""Faults where tables follow a guest's own: the last steps, once the guest's tables are read.

Rules
-----
* Under ``mmu_lock`` held for writing. An indirect table follows one of the guest's (its ``gfn``
  is that one's); where the guest has a large page that the host maps by base pages, a direct
  table maps it (its ``gfn`` is where the large page begins).
* The table below an entry is looked for by what the guest's entry says now. What the guest's
  tables said when the entry was made may be another thing, if they were written to unseen.

Source: arch/x86/kvm/mmu/paging_tmpl.h (``FNAME(fetch)``).
Known limits: only a leaf of the guest's may allow less than all.
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K, ROOT_LEVEL, spte_index
from mkold.kvm.x86.mmu.unsync import CAN_UNSYNC
from mkold.kvm.x86.shadow.map import make_indirect_spte, make_spte, mmu_set_spte
from mkold.kvm.x86.shadow.pages import ACC_ALL, kvm_mmu_page_set_access, role_of
from mkold.kvm.x86.shadow.zap import kvm_mmu_get_child_sp
from mkold.lang import Ptr, addr, kernel, u64


@kernel
def shadow_fetch(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], root: Ptr[KvmMmuPage],
    n: u64, child_gfn: u64, child_role: u64, i: u64, gfn: u64, pfn: u64,
) -> None:  # fmt: skip
    """With two levels: map ``gfn`` by entry ``i`` of the table below entry ``n`` of ``root``;
    the guest's entry ``n`` leads to ``child_gfn``, as ``child_role`` says."""
    sp = kvm_mmu_get_child_sp(kvm, vcpu, root, n, child_gfn, child_role)
    spte = make_spte(kvm, slot, gfn, pfn, PG_LEVEL_4K, 1)
    mmu_set_spte(kvm, vcpu, slot, sp, i, gfn, spte)


@kernel
def fetch_walked(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], n_gfn: u64, pfn: u64, writable: u64
) -> None:
    """Map page ``n_gfn`` of the guest's guest as ``vcpu.arch.walker`` has found it."""
    walker = addr(vcpu.arch.walker)
    sp = vcpu.arch.root
    for level in range(ROOT_LEVEL, PG_LEVEL_4K, -1):
        below = walker.table_gfn[level - 1]
        role = role_of(0, ACC_ALL)
        sp = kvm_mmu_get_child_sp(kvm, vcpu, sp, spte_index(n_gfn, level), below, role)
    gfn = walker.gfn
    index = spte_index(n_gfn, PG_LEVEL_4K)
    access = walker.pte_access
    spte = make_indirect_spte(kvm, slot, gfn, pfn, access, writable, CAN_UNSYNC)
    mmu_set_spte(kvm, vcpu, slot, sp, index, gfn, spte)
    kvm_mmu_page_set_access(sp, index, access)
