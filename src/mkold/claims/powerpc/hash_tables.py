"""The life of the hash table against notifiers, mode switches and the dirty log: claims 30
to 32."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Set, Setup, Skip
from mkold.check.setup import ThreadCall
from mkold.claims.powerpc.small_hash import ORDER, RW, HashVm, make_hash_vm
from mkold.claims.powerpc.small_vm import HVA, PGTABLE, SMALL, make_vm
from mkold.claims.powerpc.switch import PATCH
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_start,
    kvm_test_clear_young_slow,
)
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.book3s import kvm_arch_vcpu_walk
from mkold.kvm.powerpc.hash.age import age_ring
from mkold.kvm.powerpc.hash.hpt import hpt_entry, kvmppc_alloc_reset_hpt
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_PRESENT,
    gfn_to_rmap,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.unmap import kvm_unmap_one
from mkold.kvm.powerpc.hash.vcpu import kvmppc_hash_page_fault
from mkold.kvm.powerpc.hash.vmalloc import vfree, vzalloc
from mkold.kvm.powerpc.mmu_hv import kvm_vm_ioctl_get_dirty_log_hv
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.switch import (
    kvmhv_configure_mmu,
    kvmppc_switch_mmu_to_hpt,
    kvmppc_switch_mmu_to_radix,
)
from mkold.kvm.types import MemorySlot
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import READ_ONCE, Ptr, addr, kernel, u64

RESET = "arch/powerpc/kvm/book3s_64_mmu_hv.c (kvmppc_alloc_reset_hpt)"
SWITCH = "arch/powerpc/kvm/book3s_hv.c (kvmppc_switch_mmu_to_radix)"
OTHER_ORDER = ORDER - 1


def young_page(m: Setup) -> tuple[HashVm, int]:
    """A VM with one page, entered and young; and a vCPU."""
    vm = make_hash_vm(m)
    vm.enter(bits=RW)
    vcpu = vm.vcpu()
    vm.touch(vcpu)
    return vm, vcpu


def ages(vm: HashVm) -> ThreadCall:
    """The slow path over page 0."""
    return (kvm_test_clear_young_slow, vm.kvm, HVA, HVA + 1, 1)


def stock(m: Setup, order: int) -> None:
    """Areas for a table of that order, freed before, so that nothing new is carved out."""
    npte = 1 << (order - 4)
    for area in [m.call(vzalloc, 2 * npte), m.call(vzalloc, 3 * npte)]:
        m.call(vfree, area)


# -- claim 30: a table of another size -----------------------------------


def age_and_reorder(m: Setup) -> None:
    vm, _vcpu = young_page(m)
    stock(m, OTHER_ORDER)
    m.thread("notifier", ages(vm))
    m.thread("ioctl", (kvmppc_alloc_reset_hpt, vm.kvm, OTHER_ORDER))


@kernel
def unmap_one(kvm: Ptr[Kvm]) -> u64:
    """A notifier takes the first entry of page 0 away, if there is one."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    found = kvm_unmap_one(kvm, gfn_to_rmap(kvm, 0), 0)
    kvm_mmu_unlock(kvm)
    return found


@kernel
def age_round(kvm: Ptr[Kvm]) -> u64:
    """A notifier ages page 0, once round its ring: if it met a lock it would start over."""
    young: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    rmap = gfn_to_rmap(kvm, 0)
    lock_rmap(rmap)
    word = READ_ONCE(rmap.value)
    if word & KVMPPC_RMAP_PRESENT:
        young, _busy = age_ring(kvm, word & KVMPPC_RMAP_INDEX)
    unlock_rmap(rmap)
    kvm_mmu_unlock(kvm)
    return young


def age_round_and_reorder(m: Setup) -> None:
    vm, _vcpu = young_page(m)
    stock(m, OTHER_ORDER)
    m.thread("notifier", (age_round, vm.kvm))
    m.thread("ioctl", (kvmppc_alloc_reset_hpt, vm.kvm, OTHER_ORDER))


def unmap_and_reorder(m: Setup) -> None:
    vm, _vcpu = young_page(m)
    stock(m, OTHER_ORDER)
    m.thread("notifier", (unmap_one, vm.kvm))
    m.thread("ioctl", (kvmppc_alloc_reset_hpt, vm.kvm, OTHER_ORDER))


def unmap_and_reset(m: Setup) -> None:
    """A table of the same size is emptied in place."""
    vm, _vcpu = young_page(m)
    vm.watch()
    m.thread("notifier", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1))
    m.thread("ioctl", (kvmppc_alloc_reset_hpt, vm.kvm, ORDER))
    m.never(
        "ghost-entry", lambda end: end["V"] != 0, "The table was emptied, and has an entry."
    )


# -- claim 31: the fast path in hash mode -----------------------------------


@kernel
def does_not_look(kvm: Ptr[Kvm]) -> u64:
    """Stands for ``radix_mode`` in a fast path that takes the mode for granted."""
    return 1


def walk_and_leave(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    m.poke(vm.kvm + Kvm.offset("slots") + MemorySlot.offset("npages"), 1)
    m.thread("walker", vm.age())
    m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))


def walk_in_hash_mode(m: Setup) -> None:
    """The page is young in the hash table. A tree from before is on its way out."""
    vm, _vcpu = young_page(m)
    tree = make_vm(m, "old.")
    m.poke(vm.kvm + PGTABLE, m.peek(tree.kvm + PGTABLE))
    m.thread("walker", (kvm_test_clear_young_hv, vm.kvm, 0, 1, 1, 0, 0))
    m.never(
        "young-missed",
        lambda end: end.result("walker") == 0 and end.result("walker", -1, 1) == 0,
        "The fast path answered that nothing is young, of a page that is.",
    )


# -- claim 32: switches, with everything at work -----------------------------------


def age_and_enter_radix(m: Setup) -> None:
    vm, _vcpu = young_page(m)
    m.thread("notifier", ages(vm))
    m.thread("switch", (kvmppc_switch_mmu_to_radix, vm.kvm))


def logged(m: Setup, vm_kvm: int) -> ThreadCall:
    """The slot of page 0 is logged; what fetches the log."""
    slot = vm_kvm + Kvm.offset("slots")
    m.poke(slot + MemorySlot.offset("npages"), 1)
    m.poke(slot + MemorySlot.offset("dirty_bitmap"), m.words(1, "dirty_bitmap"))
    return (kvm_vm_ioctl_get_dirty_log_hv, vm_kvm, slot, m.words(1, "log"))


def log_and_enter_radix(m: Setup) -> None:
    vm, vcpu = young_page(m)
    vm.touch(vcpu, write=True)
    m.thread("migration", logged(m, vm.kvm))
    m.thread("switch", (kvmppc_switch_mmu_to_radix, vm.kvm))


def log_and_leave_radix(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    m.thread("migration", logged(m, vm.kvm))
    m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))


@kernel
def guest_walks_by_mode(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Enter the guest, let the hardware translate a read of page 0 in whatever mode it finds,
    leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = kvm_arch_vcpu_walk(kvm, vcpu, 0, 0)
    kvm_vcpu_put(vcpu)
    return ok


def guest_and_enter_radix(m: Setup) -> None:
    vm, vcpu = young_page(m)
    m.poke(vm.kvm + Kvm.offset("stop"), 1)  # whoever finds it not ready gives up
    m.thread("guest", (guest_walks_by_mode, vm.kvm, vcpu))
    m.thread("switch", (kvmhv_configure_mmu, vm.kvm, 1))


@kernel
def looks_at_the_table(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Stands for all that a fault does with the table once it may."""
    return READ_ONCE(hpt_entry(kvm, 0)[0]) & 0


def fault_and_enter_radix(m: Setup) -> None:
    """A vCPU has faulted, and is outside guest mode."""
    vm, vcpu = young_page(m)
    m.thread("vcpu", (kvmppc_hash_page_fault, vm.kvm, vcpu, 0, 0))
    m.thread("switch", (kvmhv_configure_mmu, vm.kvm, 1))


AGE_REORDER = Scenario("hash-age-vs-reorder", age_and_reorder, SMALL)
ROUND_REORDER = Scenario("hash-age-round-vs-reorder", age_round_and_reorder, SMALL)
UNMAP_REORDER = Scenario("hash-unmap-vs-reorder", unmap_and_reorder, SMALL)
UNMAP_RESET = Scenario("hash-unmap-vs-reset", unmap_and_reset, SMALL)
LEAVE = Scenario("walk-vs-to-hash", walk_and_leave, SMALL)
LEAVE_BLIND = Scenario(
    "walk-vs-to-hash-blindly", walk_and_leave, SMALL, stand_ins={"radix_mode": does_not_look}
)
IN_HASH = Scenario("walk-in-hash-mode", walk_in_hash_mode, SMALL)
IN_HASH_BLIND = Scenario(
    "walk-in-hash-mode-blindly", walk_in_hash_mode, SMALL,
    stand_ins={"radix_mode": does_not_look},
)  # fmt: skip
AGE_TO_RADIX = Scenario("hash-age-vs-to-radix", age_and_enter_radix, SMALL)
LOG_TO_RADIX = Scenario("hash-log-vs-to-radix", log_and_enter_radix, SMALL)
LOG_TO_HASH = Scenario("log-vs-to-hash", log_and_leave_radix, SMALL)
GUEST_TO_RADIX = Scenario("hash-guest-vs-to-radix", guest_and_enter_radix, SMALL)
FAULT_TO_RADIX = Scenario(
    "hash-fault-vs-to-radix", fault_and_enter_radix, SMALL,
    stand_ins={"kvmppc_hpte_hv_fault": looks_at_the_table},
)  # fmt: skip

FREED_FIRST = (Set("HPT_FREED_FIRST", 1),)
FREED = frozenset({"use-after-free"})
NO_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))
NO_STOP = (Skip("kvm_stop_vcpus"),)

CLAIMS = [
    Claim(
        "30-freed-under-a-notifier",
        "Where KVM_PPC_ALLOCATE_HTAB asks for a table of another size, the old one is freed "
        "while a notifier may be in its rings.",
        f"inferred from {RESET}: it frees, then resets the rmap words",
        (
            Case("unmapping, in the kernel's order", UNMAP_REORDER, FREED_FIRST, only=FREED),
            Case("aging, in the kernel's order", ROUND_REORDER, FREED_FIRST, only=FREED),
            Case("aging, rmap words reset first", AGE_REORDER, decides=False),
            Case("unmapping, rmap words reset first", UNMAP_REORDER, decides=False),
            Case(
                "unmapping, the same size, in the kernel's order",
                UNMAP_RESET,
                FREED_FIRST,
                decides=False,
            ),
            Case("unmapping, the same size, reset first", UNMAP_RESET, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "31-fast-path-refuses-hash",
        "The lockless fast path refuses a VM in hash mode; one that did not would walk a tree "
        "that is being freed, or take young pages for old.",
        f"implied by {PATCH}: the test for kvm_is_radix()",
        (
            Case("while the VM leaves radix mode", LEAVE),
            Case("in hash mode", IN_HASH),
            Case("it does not look, while radix mode is left", LEAVE_BLIND, decides=False),
            Case("it does not look, in hash mode", IN_HASH_BLIND, decides=False),
        ),
    ),
    Claim(
        "32-switches-with-all-at-work",
        "Switches in both directions free both tables under nobody: not under aging, the dirty "
        "log, or a vCPU.",
        SWITCH,
        (
            Case("aging while the VM leaves hash mode", AGE_TO_RADIX),
            Case("dirty log while the VM leaves hash mode", LOG_TO_RADIX),
            Case("dirty log while the VM leaves radix mode", LOG_TO_HASH),
            Case("guest while the VM leaves hash mode", GUEST_TO_RADIX),
            Case("a fault while the VM leaves hash mode", FAULT_TO_RADIX),
            Case(
                "aging, no mmu_lock",
                AGE_TO_RADIX,
                NO_LOCK,
                decides=False,
                only=FREED,
                heavy=True,
            ),
            Case("guest, vCPUs not stopped", GUEST_TO_RADIX, NO_STOP, decides=False),
        ),
    ),
]
