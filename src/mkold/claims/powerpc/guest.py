"""What a guest does in a scenario: enter, touch a page through whatever the TLB says, leave.

A guest page's frame is ``1 << FRAME_SHIFT`` words of the scenario's own memory.
"""

from __future__ import annotations

from mkold.claims.powerpc.small_vm import Vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.types import KVM_PFN_ERR, RESUME_HOST
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, cast, kernel, u64

FRAME_SHIFT = 3
MMU_READY = Kvm.layout.field("arch.mmu_ready").offset


def mapped_frame(vm: Vm, *, value: int = 0) -> int:
    """A frame of words holding ``value``, mapped at guest page 0; its address."""
    m = vm.m
    frame = m.words(1 << FRAME_SHIFT, "frame", value=value, align=1 << FRAME_SHIFT)
    vm.map(0, pfn=frame >> FRAME_SHIFT)
    return frame


def running_vcpu(vm: Vm) -> int:
    """A vCPU with an empty TLB, of a VM whose vCPUs may run."""
    vcpu = vm.vcpu("vcpu")
    vm.m.poke(vm.kvm + MMU_READY, 1)
    return vcpu


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
    ok, _pfn = mmu_walk_hw(kvm, vcpu, gfn, 0)
    kvm_vcpu_put(vcpu)
    return ok


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


# Guests' faults find no memory: the page is gone for good.
GIVES_UP = {"kvmppc_book3s_radix_page_fault": no_memory}
