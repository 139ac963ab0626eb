"""What a guest does in a scenario: enter, touch a page through whatever the TLB says, leave.

A guest page's frame is ``1 << FRAME_SHIFT`` words of the scenario's own memory.
"""

from __future__ import annotations

from mkold.claims.arm64.small_vm import Vm
from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.hw import mmu_walk_s2
from mkold.kvm.types import KVM_PFN_ERR, RESUME_HOST
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import READ_ONCE, Ptr, cast, kernel, poison, u64

FRAME_SHIFT = 3


def mapped_frame(vm: Vm, gfn: int = 0, *, value: int = 0) -> int:
    """A frame of words holding ``value``, mapped at ``gfn``; its address."""
    frame = vm.m.words(1 << FRAME_SHIFT, f"frame{gfn}", value=value, align=1 << FRAME_SHIFT)
    vm.map(gfn, pfn=frame >> FRAME_SHIFT)
    return frame


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
def guest_walks(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, let the hardware translate one access, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = mmu_walk_s2(kvm, vcpu, gfn, 0)
    kvm_vcpu_put(vcpu)
    return ok


@kernel
def reuse_frame(frame: Ptr[u64]) -> None:
    """The host gives the frame to somebody else."""
    poison(frame.value, 1)


# Guests' faults find no memory: the page is gone for good.
GIVES_UP = {"kvm_handle_guest_abort": no_memory}
