"""Guests in scenarios of arm64: their frames, their hardware, their faults."""

from __future__ import annotations

from mkold.claims.arm64.small_vm import Vm
from mkold.claims.generic.guest import FRAME_SHIFT, no_memory
from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.hw import mmu_walk_s2
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import Ptr, kernel, u64


def mapped_frame(vm: Vm, gfn: int = 0, *, value: int = 0) -> int:
    """A frame of words holding ``value``, mapped at ``gfn``; its address."""
    frame = vm.m.words(1 << FRAME_SHIFT, f"frame{gfn}", value=value, align=1 << FRAME_SHIFT)
    vm.map(gfn, pfn=frame >> FRAME_SHIFT)
    return frame


@kernel
def guest_walks(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, let the hardware translate one access, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = mmu_walk_s2(kvm, vcpu, gfn, 0)
    kvm_vcpu_put(vcpu)
    return ok


# Guests' faults find no memory: the page is gone for good.
GIVES_UP = {"kvm_handle_guest_abort": no_memory}
