"""What a guest does in a scenario: enter, touch a page through whatever the TLB says, leave.

A guest page's frame is ``1 << FRAME_SHIFT`` words of the scenario's own memory. Its faults
find no memory but what a fast page fault makes of a leaf that is there.
"""

from __future__ import annotations

from mkold.claims.x86.small_tdp import Vm
from mkold.kvm.types import KVM_PFN_ERR, RESUME_GUEST, RESUME_HOST
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault
from mkold.kvm.x86.tdp.map import RET_PF_RETRY
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, poison, u64

FRAME_SHIFT = 3


def frame(vm: Vm, gfn: int = 0, *, value: int = 0) -> int:
    """A frame of words holding ``value``, mapped at ``gfn``; its address."""
    where = vm.m.words(1 << FRAME_SHIFT, "frame", value=value, align=1 << FRAME_SHIFT)
    vm.map(gfn, where >> FRAME_SHIFT)
    return where


@kernel
def no_memory(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Stands for the fault path: the page is gone for good."""
    return RESUME_HOST


@kernel
def fast_way_alone(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Stands for the fault path, of which it is the first half."""
    if fast_page_fault(vcpu, addr(kvm.slots[0]), gfn, write) != RET_PF_RETRY:
        return RESUME_GUEST
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
def reuse_frame(frame: Ptr[u64]) -> None:
    """The host gives the frame to somebody else."""
    poison(frame.value, 1)


# Guests' faults find no memory: the page is gone for good.
GIVES_UP = {"kvm_tdp_page_fault": no_memory}
FAST_ALONE = {"kvm_tdp_page_fault": fast_way_alone}
