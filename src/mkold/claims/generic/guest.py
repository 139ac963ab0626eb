"""What a guest does in a scenario: enter, touch a page through whatever the TLB says, leave.

A guest page's frame is ``1 << FRAME_SHIFT`` words of the scenario's own memory.
"""

from __future__ import annotations

from mkold.kvm.types import KVM_PFN_ERR, RESUME_HOST, Kvm, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, cast, kernel, poison, u64

FRAME_SHIFT = 3


@kernel
def no_memory(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Stands for the fault path: the page is gone for good."""
    return RESUME_HOST


@kernel
def guest_reads(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, read a page through whatever the TLB says, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 0)
    if pfn >= KVM_PFN_ERR:
        return 0
    word = READ_ONCE(cast(Ptr[u64], pfn << FRAME_SHIFT).value)
    kvm_vcpu_put(vcpu)
    return word


@kernel
def guest_writes(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, write 1 to a page through whatever the TLB says, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 1)
    if pfn >= KVM_PFN_ERR:
        return 0
    WRITE_ONCE(cast(Ptr[u64], pfn << FRAME_SHIFT).value, 1)
    kvm_vcpu_put(vcpu)
    return 1


@kernel
def guest_writes_and_stays(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, write to a page, touch it once more."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 1)
    if pfn >= KVM_PFN_ERR:
        return 0
    WRITE_ONCE(cast(Ptr[u64], pfn << FRAME_SHIFT).value, 1)
    if kvm_vcpu_access(kvm, vcpu, gfn, 1) < KVM_PFN_ERR:
        kvm_vcpu_put(vcpu)
    return 1


@kernel
def reuse_frame(frame: Ptr[u64]) -> None:
    """The host gives the frame to somebody else."""
    poison(frame.value, 1)
