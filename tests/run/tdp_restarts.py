"""x86 with a way to throw away all tables while the VM runs, as a memslot's end does."""

from __future__ import annotations

from dataclasses import replace

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.machine import machine as x86
from mkold.kvm.x86.machine import noad as x86_noad
from mkold.kvm.x86.tdp.roots import kvm_tdp_mmu_invalidate_roots
from mkold.kvm.x86.tdp.zap import kvm_mmu_zap_all_fast, kvm_tdp_mmu_zap_invalidated_roots
from mkold.lang import Ptr, addr, kernel, u64
from mkold.sync.rcu import rcu_do_batch


@kernel
def start_over(kvm: Ptr[Kvm], locked: u64) -> u64:
    """All roots go; ``locked``: with ``mmu_lock`` held for writing from beginning to end."""
    waits = addr(kvm.stat.lock_waits)
    if not locked:
        kvm_mmu_zap_all_fast(kvm, addr(kvm.stat.pad[0]))
    else:
        kvm_mmu_lock(kvm, waits)
        kvm_tdp_mmu_invalidate_roots(kvm)
        kvm_tdp_mmu_zap_invalidated_roots(kvm, 0, waits)
        kvm_mmu_unlock(kvm)
    rcu_do_batch()
    return 0


# vCPUs free their roots some hundred at a time.
MODE = replace(x86.modes["ept"], configure=start_over, table_words=lambda n_pages: 1 << 20)
machine = replace(x86, modes={"ept": MODE})
noad = replace(x86_noad, modes={"ept": MODE})
