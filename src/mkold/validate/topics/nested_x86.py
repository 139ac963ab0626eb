"""An x86 guest (L1) that has a guest of its own (L2), under its own nested page tables (NPT).

Rules
-----
* L1's table of L2's memory begins empty. Before L2 touches pages L1 maps what it lacks, and
  gives back the right to write; A and D are set by the walk, which is L0's.
* L1 changes its tables and tells nobody: each entry of L2 flushes.
* Eight pages of L2 share a leaf table, on both sides; in the real one they lie 64 entries
  apart, so that L0 maps none in advance beside the one that faulted (``FNAME(pte_prefetch)``).
"""

from __future__ import annotations

from mkold.base.errors import MkoldError
from mkold.kvm.types import KVM_PFN_ERR
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.mmu.spte import PT_ACCESS_MASK, PT_WRITABLE_MASK, SPTE_BASE_SHIFT
from mkold.kvm.x86.nested import nested_enter
from mkold.kvm.x86.shadow.guest_walk import (
    PT_GUEST_ACCESSED_MASK,
    PT_GUEST_DIRTY_MASK,
    kvm_read_guest_word,
)
from mkold.kvm.x86.shadow.l1 import L1_BITS, l1_write, nested_exit
from mkold.lang import Ptr, kernel, u64
from mkold.validate.pages import pages_of
from mkold.validate.step import Step
from mkold.validate.system import BASE_GFN, System
from mkold.validate.topic import Kind, Topic
from mkold.validate.topics.nested import real
from mkold.validate.vm import Vm

IN_TABLE = (1 << L1_BITS) - 1
# Bits that a step takes from L1's entries (0: all), and whether it says where the bit was.
CLEARS = {
    "l1-unmap": (0, False),
    "l1-protect": (PT_WRITABLE_MASK, False),
    "l1-clean": (PT_GUEST_DIRTY_MASK, True),
    "l1-clear-young": (PT_GUEST_ACCESSED_MASK, True),
}


@kernel
def l1_load(kvm: Ptr[Kvm], table: u64, n: u64) -> u64:
    """Entry ``n`` of L1's leaf tables, which begin at its page ``table``."""
    _failed, word = kvm_read_guest_word(kvm, table + (n >> L1_BITS), n & IN_TABLE)
    return word


@kernel
def l1_store(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, entry: u64) -> u64:
    """L1 writes that entry; 1: it has no memory there."""
    if kvm_vcpu_load(kvm, vcpu):
        return 1
    failed = l1_write(kvm, vcpu, table + (n >> L1_BITS), n & IN_TABLE, entry)
    kvm_vcpu_put(vcpu)
    return failed


@kernel
def l1_allow(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, gfn: u64, write: u64) -> u64:
    """L1 maps its page ``gfn`` as L2's page ``n``, or lets it be written to, where that
    lacks."""
    entry = l1_load(kvm, table, n)
    if entry == 0:
        return l1_store(kvm, vcpu, table, n, PT_ACCESS_MASK | (gfn << SPTE_BASE_SHIFT))
    if write and not entry & PT_WRITABLE_MASK:
        return l1_store(kvm, vcpu, table, n, entry | PT_WRITABLE_MASK)
    return 0


@kernel
def l1_clear(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, bits: u64) -> u64:
    """L1 clears bits of its entry ``n`` (0: all of it); bit 0: whether it had one of them,
    bit 1: it has no memory there."""
    old = l1_load(kvm, table, n)
    new: u64 = old & ~bits if bits else 0
    if new == old:
        return 0
    return (l1_store(kvm, vcpu, table, n, new) << 1) | 1


@kernel
def l2_enter(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """VMRUN; 1: it was not entered."""
    return nested_enter(kvm, vcpu, 1) or kvm_vcpu_load(kvm, vcpu)


@kernel
def l2_access(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, write: u64) -> u64:
    """One load or store of L2 to its page ``n``; 1: it has no memory there."""
    return kvm_vcpu_access(kvm, vcpu, n, write) >= KVM_PFN_ERR


@kernel
def l2_leave(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> None:
    """Back to L1, and out of guest mode."""
    kvm_vcpu_put(vcpu)
    nested_exit(kvm, vcpu)


def system(system: System, step: Step) -> int | None:
    """L1's entries one by one; then L2 page by page."""
    vm, pages = (system.kvm, system.vcpu), list(pages_of(step.pages))
    if step.name not in CLEARS:
        write, failed = int(step.name == "l2-write"), 0
        for page in pages:
            gfn = BASE_GFN + page
            failed |= system.call("l1_allow", *vm, system.l1_leaves, page, gfn, write)
        failed |= system.call("l2_enter", *vm)
        for page in pages:
            failed |= system.call("l2_access", *vm, page, write)
        system.call("l2_leave", *vm)
        if failed:
            raise MkoldError(f"the system's guest was refused its memory: {step}")
        return None
    bits, answers = CLEARS[step.name]
    found = 0
    for page in pages:
        said = system.call("l1_clear", *vm, system.l1_leaves, page, bits)
        if said >> 1:
            raise MkoldError(f"the system's guest was refused its memory: {step}")
        found |= (said & 1) << page
    return found if answers else None


def has_guest(vm: Vm) -> bool:
    """Whether the guest has a guest."""
    return vm.guest == "npt"


NESTED_X86 = Topic(
    kinds={
        "l2-read": Kind(False, 18, guest=True),
        "l2-write": Kind(False, 14, guest=True),
        "l1-unmap": Kind(False, 4, 0.2),
        "l1-protect": Kind(False, 4, 0.3),
        "l1-clean": Kind(True, 4, 0.3),
        "l1-clear-young": Kind(True, 4, 1.0),
    },
    real=real,
    system=system,
    entries=(l1_allow, l1_clear, l1_store, l2_enter, l2_access, l2_leave),
    parameters={"VM_LOCKED": 1},
    fits=has_guest,
)
