"""TLB invalidation, as far as stage 2 has its own.

On hardware a TLBI is broadcast and the DSB behind it, on the CPU that issued it, waits until no
CPU uses the old translation; here that is a request to each vCPU and waiting for it
(``mkold.kvm.tlb``). Two vCPUs that fault may flush at once, both with ``mmu_lock`` held for
reading: requests merge, and each waits for all.

``__kvm_tlb_flush_vmid_ipa_nsh`` is for the CPU that issues it: a translation that a TLB may
hold though it permission-faults has to go before the access is tried again.

Sources: arch/arm64/kvm/hyp/{vhe,nvhe}/tlb.c. Known limits: a TLB here has entries of pages;
what a hint of the level leaves behind can't be seen.
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.pgtable.geometry import kvm_granule_pages
from mkold.kvm.tlb import flush_request, kvm_make_all_request
from mkold.kvm.types import TLB_BITS
from mkold.lang import Ptr, addr, atomic_inc, kernel, u64


@kernel
def kvm_tlb_flush_vmid_range(kvm: Ptr[Kvm], gfn: u64, pages: u64) -> None:
    """No vCPU uses a translation of ``[gfn, gfn + pages)`` made before the call."""
    atomic_inc(kvm.arch.mmu.tlb_flushes)
    kvm_make_all_request(kvm, flush_request(gfn, pages))


@kernel
def __kvm_tlb_flush_vmid_ipa(kvm: Ptr[Kvm], gfn: u64, level: u64) -> None:
    """The same of what the entry of ``gfn`` at ``level`` maps."""
    pages = kvm_granule_pages(level)
    kvm_tlb_flush_vmid_range(kvm, gfn & ~(pages - 1), pages)


@kernel
def __kvm_tlb_flush_vmid_ipa_nsh(vcpu: Ptr[Vcpu], gfn: u64) -> None:
    """On the vCPU's own thread: its TLB forgets ``gfn``."""
    entry = addr(vcpu.tlb[gfn & ((1 << TLB_BITS) - 1)])
    if entry.tag == gfn + 1:
        entry.tag = 0
