"""Guests in scenarios of the TDP MMU: their frames and their faults.

Their faults find no memory but what a fast page fault makes of a leaf that is there.
"""

from __future__ import annotations

from mkold.claims.generic.guest import FRAME_SHIFT, no_memory
from mkold.claims.x86.small_tdp import Vm
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault
from mkold.kvm.x86.tdp.map import RET_PF_RETRY
from mkold.lang import Ptr, addr, kernel, u64


def frame(vm: Vm, gfn: int = 0, *, value: int = 0) -> int:
    """A frame of words holding ``value``, mapped at ``gfn``; its address."""
    where = vm.m.words(1 << FRAME_SHIFT, "frame", value=value, align=1 << FRAME_SHIFT)
    vm.map(gfn, where >> FRAME_SHIFT)
    return where


@kernel
def fast_way_alone(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Stands for the fault path, of which it is the first half."""
    if fast_page_fault(vcpu, addr(kvm.slots[0]), gfn, write) != RET_PF_RETRY:
        return RESUME_GUEST
    return RESUME_HOST


# Guests' faults find no memory: the page is gone for good.
GIVES_UP = {"kvm_tdp_page_fault": no_memory}
FAST_ALONE = {"kvm_tdp_page_fault": fast_way_alone}
