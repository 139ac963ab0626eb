"""Guests in scenarios of powerpc: their frames, their hardware, their faults."""

from __future__ import annotations

from mkold.claims.generic.guest import FRAME_SHIFT, no_memory
from mkold.claims.powerpc.small_vm import Vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import Ptr, kernel, u64

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
def guest_walks(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, let the hardware translate one access, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = mmu_walk_hw(kvm, vcpu, gfn, 0)
    kvm_vcpu_put(vcpu)
    return ok


# Guests' faults find no memory: the page is gone for good.
GIVES_UP = {"kvmppc_book3s_radix_page_fault": no_memory}
