"""The module's start, and a VM's life.

Source: virt/kvm/kvm_main.c (kvm_init, kvm_create_vm, kvm_destroy_vm).
"""

from __future__ import annotations

from mkold.kvm.arch import kvm_arch_destroy_vm, kvm_arch_init, kvm_arch_init_vm
from mkold.kvm.notifier import kvm_fill_mmu_notifier_ops, kvm_init_mmu_notifier
from mkold.kvm.types import Kvm
from mkold.lang import WRITE_ONCE, Ptr, addr, kernel, u64
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import mmu_notifier_unregister


@kernel
def kvm_init() -> None:
    """Load the module: once, before the first VM, by one thread."""
    kvm_fill_mmu_notifier_ops()
    kvm_arch_init()


@kernel
def kvm_create_vm(kvm: Ptr[Kvm], mm: Ptr[Mm]) -> u64:
    """Make ``kvm`` (zeroed words of the architecture's size) a VM over ``mm``; 0, or 1: no
    memory, or nothing to run it.

    ``mm`` has its subscriptions (``mmu_notifier_subscriptions_init``) already.
    """
    kvm.mm = mm
    if kvm_arch_init_vm(kvm):
        return 1
    kvm_init_mmu_notifier(kvm)
    return 0


@kernel
def kvm_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """Give back everything; no vCPU runs, and none will."""
    WRITE_ONCE(kvm.stop, 1)
    mmu_notifier_unregister(addr(kvm.notifier), kvm.mm)
    kvm_arch_destroy_vm(kvm)
