"""A memslot that goes while the VM lives, and comes back.

Rules
-----
* Whoever looks for a slot finds none of no pages; what was mapped through it is unmapped first
  (``kvm_arch_flush_shadow_memslot``): x86 unmaps all of the VM
  (``KVM_X86_QUIRK_SLOT_ZAP_ALL``, which VMs have unless they ask not to), others the slot.
* Its dirty log goes with it.

Known limits: no vCPU runs meanwhile; the kernel leaves an invalid slot until all who use it are
gone (SRCU). What the architecture keeps by page stays, empty, for when the slot comes back.

Source: virt/kvm/kvm_main.c (kvm_delete_memslot, kvm_create_memslot).
"""

from __future__ import annotations

from mkold.kvm.arch import kvm_arch_flush_shadow_memslot
from mkold.kvm.types import Kvm
from mkold.lang import NULL, Ptr, addr, kernel, u64


@kernel
def kvm_delete_memslot(kvm: Ptr[Kvm], slot_id: u64) -> None:
    """KVM_SET_USER_MEMORY_REGION with no memory."""
    slot = addr(kvm.slots[slot_id])
    kvm_arch_flush_shadow_memslot(kvm, slot)
    slot.dirty_bitmap = NULL
    slot.npages = 0


@kernel
def kvm_create_memslot(kvm: Ptr[Kvm], slot_id: u64, npages: u64) -> None:
    """The same with ``npages`` pages again, of a slot that was deleted."""
    kvm.slots[slot_id].npages = npages
