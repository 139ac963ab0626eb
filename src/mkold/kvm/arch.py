"""What generic KVM asks of an architecture: the hooks, each declared once.

An architecture's folder defines them all and lists them by these names
(``mkold.kvm.machine``); they are bound when an image or a scenario is built, so a call costs
what a direct call costs. ``kvm`` is the generic part of the VM here; the architecture's
own ``Kvm`` begins with it (``mkold.kvm.types``).

Names are the kernel's, but for the two that are hardware there: ``kvm_arch_vcpu_walk`` and
``kvm_arch_vcpu_page_fault``, a vCPU's way into and out of the host there being one ioctl.

Sources: include/linux/kvm_host.h; ``kvm_arch_*test_clear_young``: "mm/kvm: add
mmu_notifier_ops->test_clear_young()", lore 20230526234435.662652-2-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.types import Kvm, MemorySlot, Vcpu
from mkold.lang import Ptr, hook, u64

# -- the module, and the life of a VM --------------------------------------------------------


@hook
def kvm_arch_init() -> None:
    """Load the architecture's part of the module: once, before the first VM."""


@hook
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """Give a new VM (zeroed but for its ``mm``) what it needs for vCPUs to run; 0, or 1 if
    there is no memory, or nothing to run it. Nobody else knows the VM yet."""


@hook
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """Give it all back. No vCPU runs, no notifier comes, and none will."""


@hook
def kvm_arch_create_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> u64:
    """Give a new slot what the architecture keeps by page; 0, or 1 if there is no memory."""


# -- the dirty log (``kvm.dirty_log``) ---------------------------------------------------------


@hook
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """From here on the slot's log is ``bitmap``, every write to it being seen if ``protect``
    says so; or it has none any more (NULL); 0, or 1 if there is no memory."""


@hook
def kvm_arch_get_dirty_log(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Move the slot's dirty pages to ``log`` (one bit a page) and see the next write to each;
    1 if it is not logged."""


@hook
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """Under ``mmu_lock``: see the next write to each of the pages that ``mask`` names, of the
    64 of the slot from ``offset`` on. The caller flushes."""


# -- the host asks for its pages ---------------------------------------------------------------


@hook
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Under ``mmu_lock``: no page of ``[gfn, end)`` is mapped any more; 1 if the caller has
    to flush the TLBs."""


@hook
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """Under ``mmu_lock``: the host maps the page of ``gfn`` to ``pfn`` now; as
    ``kvm_unmap_gfn_range``."""


@hook
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Under ``mmu_lock``: clear the accessed bits of ``[gfn, end)``; 1 if any was set."""


@hook
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Under ``mmu_lock``: 1 if any accessed bit of ``[gfn, end)`` is set."""


@hook
def kvm_arch_has_test_clear_young() -> u64:
    """Whether this machine has a fast path at all; may say yes too often."""


@hook
def kvm_arch_test_clear_young(  # type: ignore[empty-body]  # a hook has none
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """The fast path: test (and clear) guest pages ``[gfn, end)`` without ``mmu_lock``.

    Parameters
    ----------
    gfn, end : guest pages of one memslot
    clear : 0 or 1
    bitmap : NULL, or bits in reversed order (see ``mkold.mm.mmu_notifier``), to be used by
        ``mkold.kvm.young``
    last_bit : the bitmap's bit of page ``end - 1``

    Returns
    -------
    failed : 0 done, 1 it can't be done here: use the slow path
    young : entries found young

    Ordering
    --------
    Takes no lock and waits for nothing.
    """


# -- TLBs --------------------------------------------------------------------------------------


@hook
def kvm_arch_flush_remote_tlbs(kvm: Ptr[Kvm]) -> u64:
    """Flush every translation by the architecture's own means; 1: it has none, post
    requests."""


@hook
def kvm_arch_flush_remote_tlbs_range(kvm: Ptr[Kvm], gfn: u64, nr_pages: u64) -> u64:
    """As ``kvm_arch_flush_remote_tlbs``, for ``nr_pages`` pages from ``gfn`` on."""


# -- a vCPU ------------------------------------------------------------------------------------


@hook
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Whether the VM has tables that ``vcpu`` can run on; an acquire if it has."""


@hook
def kvm_arch_vcpu_walk(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:  # type: ignore[empty-body]  # a hook has none
    """The hardware: translate an access of ``vcpu``, in guest mode, and fill its TLB.

    Returns
    -------
    ok : 1 if translated, 0 if the hypervisor must handle a fault
    pfn : the frame
    """


@hook
def kvm_arch_vcpu_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``, which is outside guest mode.

    Returns
    -------
    RESUME_GUEST: try the access again; RESUME_HOST: the guest has no memory there, or the
    host has no frame for it
    """


# -- a memslot goes (``kvm.memslot_life``) -----------------------------------------------------


@hook
def kvm_arch_flush_shadow_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """Nothing is mapped through ``slot``, which is about to go, and no TLB knows of it."""
