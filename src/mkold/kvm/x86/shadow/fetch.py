"""Faults where tables follow a guest's own: the last steps, once the guest's tables are read.

Rules
-----
* Under ``mmu_lock`` held for writing. An indirect table follows one of the guest's (its ``gfn``
  is that one's); where the guest has a large page that the host maps by base pages, a direct
  table maps it (its ``gfn`` is where the large page begins).
* The table below an entry is looked for by what the guest's entry says now. What the guest's
  tables said when the entry was made may be another thing, if they were written to unseen.

Source: arch/x86/kvm/mmu/paging_tmpl.h (``FNAME(fetch)``).
Known limits: two levels, as in scenarios; reading the guest's tables is left to the caller.
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.shadow.fault import make_spte, mmu_set_spte
from mkold.kvm.x86.shadow.zap import kvm_mmu_get_child_sp
from mkold.lang import Ptr, kernel, u64


@kernel
def shadow_fetch(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], root: Ptr[KvmMmuPage],
    n: u64, child_gfn: u64, child_role: u64, i: u64, gfn: u64, pfn: u64,
) -> None:  # fmt: skip
    """Map ``gfn`` by entry ``i`` of the table below entry ``n`` of ``root``; the guest's entry
    ``n`` leads to ``child_gfn``, as ``child_role`` says."""
    sp = kvm_mmu_get_child_sp(kvm, vcpu, root, n, child_gfn, child_role)
    spte = make_spte(kvm, slot, gfn, pfn, PG_LEVEL_4K, 1)
    mmu_set_spte(kvm, vcpu, slot, sp, i, gfn, spte)
