"""Flushing translations from whoever holds ``mmu_lock`` for reading, or no lock at all.

``mkold.kvm.tlb`` has the protocol. Its own entries count flushes in a word that
``mmu_lock`` held for writing guards, so who does not hold it comes here. Several may flush at
once: each waits until every vCPU took what was posted for it or is out of guest mode, and a
vCPU that waits for the lock, or flushes itself, is out.

Source: arch/x86/kvm/mmu/mmu_internal.h (``kvm_flush_remote_tlbs_gfn``); commit 574c3c55e969
(a range that begins where the entry does).
"""

from __future__ import annotations

from mkold.kvm.tlb import flush_request, kvm_make_all_request
from mkold.kvm.types import REQ_TLB_FLUSH_ALL, Kvm
from mkold.kvm.x86.mmu.spte import KVM_PAGES_PER_HPAGE
from mkold.lang import Ptr, kernel, parameter, u64

# 0 begins the range at the page that was asked for: a fault of its time (574c3c55e969).
FLUSH_WHOLE_ENTRY = parameter("FLUSH_WHOLE_ENTRY", 1)


@kernel
def kvm_flush_remote_tlbs_gfn(kvm: Ptr[Kvm], gfn: u64, level: u64) -> None:
    """No vCPU uses a translation by the entry of ``gfn`` at ``level``, or by what was below it,
    that was made before the call."""
    npages = KVM_PAGES_PER_HPAGE(level)
    first = gfn & ~(npages - 1) if FLUSH_WHOLE_ENTRY else gfn
    kvm_make_all_request(kvm, flush_request(first, npages))


@kernel
def kvm_flush_remote_tlbs_unlocked(kvm: Ptr[Kvm]) -> None:
    """No vCPU uses any translation that was made before the call."""
    kvm_make_all_request(kvm, REQ_TLB_FLUSH_ALL)
