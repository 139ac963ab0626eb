"""Guests of the guest: aging, L1's tlbies, the host takes pages: claims 41 to 45, 48, 49
and 53."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Set, Setup
from mkold.claims.powerpc.nested_vm import (
    NESTED_SMALL,
    NO_PAGE,
    NO_TABLE,
    NestedVm,
    make_nested_vm,
    never_young_behind,
)
from mkold.claims.powerpc.small_vm import ACCESSED, HVA, PRESENT
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest, Vcpu
from mkold.kvm.powerpc.nested.enter import kvmhv_enter_nested_guest, kvmhv_release_all_nested
from mkold.kvm.powerpc.nested.fault import kvmhv_map_shadow
from mkold.kvm.powerpc.nested.guest import kvmhv_get_nested, kvmhv_put_nested
from mkold.kvm.powerpc.nested.shadow import find_kvm_nested_guest_pte
from mkold.kvm.powerpc.nested.tlbie import (
    RIC_ALL,
    RIC_TLB,
    kvmhv_emulate_tlbie_all_lpid,
    kvmhv_emulate_tlbie_lpid,
)
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.powerpc.radix.pte import level_shift
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.switch import set_radix_mode
from mkold.lang import (
    NULL,
    Ptr,
    kernel,
    mutex_lock,
    mutex_unlock,
    u64,
)

NESTED = "arch/powerpc/kvm/book3s_hv_nested.c"
RADIX = "arch/powerpc/kvm/book3s_64_mmu_radix.c"
HUGE_PFN = 0x60

# -- claim 41: under the lock -----------------------------------------------------------------


def _two_guests(m: Setup) -> tuple[NestedVm, int, int]:
    """One page of L1, mapped by its first guest; the second has tables for it."""
    nested = make_nested_vm(m)
    nested.vm.map(0, write=False)
    first, second = nested.guest(1), nested.guest(2)
    nested.vm.map(1, write=False)
    nested.shadow(first, 0)
    nested.shadow(second, 1)
    return nested, first, second


def age_while_it_becomes_a_list(m: Setup) -> None:
    nested, first, second = _two_guests(m)
    never_young_behind(m, nested.vm.entry(0), nested.shadow_entry(first, 0))
    m.watch("second", nested.shadow_entry(second, 0))
    m.thread("ager", nested.age_locked())
    m.thread("fault", nested.fault(second, 0, name="vcpu"))
    m.never(
        "second-young-alone",
        lambda end: bool(end["second"] & ACCESSED) and not end["l1"] & ACCESSED,
        "The second guest's entry has R and L1's entry has not.",
    )


LOCKED = Scenario("locked-age-vs-second-guest", age_while_it_becomes_a_list, NESTED_SMALL,
                  stand_ins=NO_PAGE)  # fmt: skip

# -- claim 42: between the steps of a fault ---------------------------------------------------


def age_and_fault(m: Setup) -> None:
    """The first access of L2 to a page while L1's page is aged."""
    nested = make_nested_vm(m)
    nested.vm.map(0, write=False)
    nested.vm.map(1, write=False)
    gp = nested.guest()
    nested.shadow(gp, 1)
    never_young_behind(m, nested.vm.entry(0), nested.shadow_entry(gp, 0))
    m.thread("ager", nested.age_locked())
    m.thread("fault", nested.fault(gp, 0, name="vcpu"))


BETWEEN = Scenario("locked-age-vs-nested-fault", age_and_fault, NESTED_SMALL,
                   stand_ins=NO_PAGE)  # fmt: skip

# -- claim 43: a range inside a huge leaf -----------------------------------------------------


def age_inside_a_huge_leaf(m: Setup) -> None:
    """L1's pages 0 and 1 are one leaf; L2 uses page 1, and page 1 is aged."""
    nested = make_nested_vm(m)
    nested.vm.create(0, nested.vm.leaf(HUGE_PFN), level=1)
    gp = nested.guest()
    shadow = nested.shadow(gp, 1)
    never_young_behind(m, nested.vm.entry(0), shadow)
    m.thread("ager", nested.age_locked(1))


INSIDE = Scenario("locked-age-inside-a-huge-leaf", age_inside_a_huge_leaf, NESTED_SMALL)

# -- claim 44: tlbies for all -----------------------------------------------------------------


def tlbie_all_and_one(m: Setup) -> None:
    """L1 flushes all its guests on one vCPU, and on another the one that it has ended."""
    nested = make_nested_vm(m)
    gp = nested.guest()
    m.call(kvmhv_put_nested, nested.kvm, gp)
    m.thread("all", (kvmhv_emulate_tlbie_all_lpid, nested.kvm, RIC_TLB))
    m.thread("one", (kvmhv_emulate_tlbie_lpid, nested.kvm, 1, RIC_ALL))


ALL = Scenario("tlbie-all-vs-tlbie-one", tlbie_all_and_one,
               {**NESTED_SMALL, "KVM_MAX_NESTED_GUESTS": 2}, stand_ins=NO_TABLE)  # fmt: skip

# -- claim 45: the first guest ----------------------------------------------------------------


@kernel
def first_guest(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], l2_pte: u64) -> u64:
    """The VM gets its first guest, which has its first fault; its shadow entry then."""
    gp = kvmhv_get_nested(kvm, 1, 1)
    if gp == NULL:
        return 0
    kvmhv_map_shadow(kvm, vcpu, gp, l2_pte, level_shift(2), 0)
    _ptep, pte, _level = find_kvm_nested_guest_pte(gp, 0)
    return pte


def walk_and_first_guest(m: Setup) -> None:
    """A fast path that saw no guest is still at work when the first one comes."""
    nested = make_nested_vm(m)
    nested.vm.create(0, nested.vm.leaf(HUGE_PFN), level=2)
    nested.stock(cpu=1)
    m.watch("l1", nested.vm.entry(0))
    vcpu = m.new(Vcpu, "vcpu")
    l2_pte = nested.vm.leaf(0, write=True)
    m.thread("walker", nested.vm.age())
    m.thread("L2", (first_guest, nested.kvm, vcpu, l2_pte))

    def broken(end: End) -> bool:
        return bool(end.result("L2") & ACCESSED) and not end["l1"] & ACCESSED

    m.never(
        "shadow-young-alone",
        broken,
        "The shadow entry has R and L1's entry has not: what L2 does is not seen any more.",
    )


FIRST = Scenario("fast-path-vs-first-guest", walk_and_first_guest, NESTED_SMALL,
                 stand_ins=NO_PAGE)  # fmt: skip

# -- claim 48: who sets R ---------------------------------------------------------------------


def hardware_of_l2(m: Setup) -> None:
    """Both entries were aged; L2 touches the page."""
    nested = make_nested_vm(m)
    nested.vm.map(0, write=False)
    gp = nested.guest()
    shadow = nested.shadow(gp, 0)
    nested.vm.clear(0, ACCESSED)
    m.call(kvmppc_radix_update_pte, shadow, ACCESSED, 0)
    never_young_behind(m, nested.vm.entry(0), shadow)
    vcpu = nested.vm.vcpu("vcpu")
    m.poke(vcpu + Vcpu.layout.field("arch.nested").offset, gp)
    m.thread("hardware", (mmu_walk_hw, nested.kvm, vcpu, 0, 0))


BY_HARDWARE = Scenario("hardware-of-l2", hardware_of_l2, NESTED_SMALL)

# -- claim 49: the host takes the page ---------------------------------------------------------


def fault_and_unmap(m: Setup) -> None:
    """L2 touches a page for the first time while the host takes it away."""
    nested = make_nested_vm(m)
    nested.vm.map(0)
    nested.vm.map(1)
    gp = nested.guest()
    nested.shadow(gp, 1)
    m.watch("l1", nested.vm.entry(0))
    m.watch("shadow", nested.shadow_entry(gp, 0))
    m.thread("fault", nested.fault(gp, 0, name="vcpu"))
    m.thread("host", (kvm_mmu_notifier_invalidate_range_start, nested.kvm, HVA, HVA + 1))
    m.never(
        "shadow-left",
        lambda end: bool(end["shadow"] & PRESENT),
        "The host took the page away, and L2 still has it mapped.",
    )


TAKEN = Scenario("nested-fault-vs-unmap", fault_and_unmap, NESTED_SMALL, stand_ins=NO_PAGE)
NO_RETRY = Set("CHECK_RETRY", 0)

# -- claim 53: the VM leaves radix mode -------------------------------------------------------


@kernel
def l1_has_a_table(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Stands for reading L1's partition table: there is one for the guest."""
    gp.l1_gr_to_hr = 1


@kernel
def leave_radix(kvm: Ptr[Kvm]) -> None:
    """What ``kvmhv_configure_mmu`` does when the vCPUs have stopped, as far as guests go."""
    mutex_lock(kvm.arch.mmu_setup_lock)
    kvmhv_release_all_nested(kvm)
    set_radix_mode(kvm, 0)
    mutex_unlock(kvm.arch.mmu_setup_lock)


def enter_and_leave_radix(m: Setup) -> None:
    """L1 lets a vCPU run a guest while the VM goes to hash mode."""
    nested = make_nested_vm(m)
    nested.stock(cpu=0)
    vcpu = m.new(Vcpu, "vcpu")
    m.watch("guest", nested.kvm + Kvm.layout.field("arch.kvm_nested_guest_idr").offset + 1)
    m.thread("L1", (kvmhv_enter_nested_guest, nested.kvm, vcpu, 1))
    m.thread("switch", (leave_radix, nested.kvm))
    m.never(
        "guest-in-hash-mode",
        lambda end: end["guest"] != 0,
        "The VM is in hash mode and has a guest of its own.",
    )


# Nobody walks without the lock here.
ONE_GUEST = {"KVM_MAX_NESTED_GUESTS": 2, "WAIT_FOR_WALKERS": 0, "NESTED_FREE": 1}
ENTER = Scenario("enter-vs-to-hpt", enter_and_leave_radix,
                 NESTED_SMALL | ONE_GUEST,
                 stand_ins={"kvmhv_update_ptbl_cache": l1_has_a_table})  # fmt: skip
NO_MUTEX = tuple(
    Drop(f"kvmhv_enter_nested_guest:{prim}") for prim in ("mutex_lock", "mutex_unlock")
)

CLAIMS = [
    Claim(
        "41-nested-aging-and-lists",
        "Locked aging sees each shadow entry of a page, also while the page's reverse map "
        "becomes a list.",
        f"{NESTED} (kvmhv_update_nest_rmap_rc_list)",
        (
            Case("a second guest maps the page", LOCKED),
            Case(
                "L1's entry not looked at again",
                LOCKED,
                (Set("SHADOW_RECHECK", 0),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "42-aged-between-two-steps",
        "Aging that comes between the copy of L1's entry and the shadow entry that is made of "
        "it does not leave L2's page looking idle.",
        "lore 20190826062109.7573-3-sjitindarsingh@gmail.com, for the dirty bit; "
        f"{RADIX} (kvmppc_create_pte) does not look again",
        (
            Case("L1's entry looked at again", BETWEEN),
            Case("as in Linux", BETWEEN, (Set("SHADOW_RECHECK", 0),), decides=False),
        ),
    ),
    Claim(
        "43-aged-inside-a-huge-leaf",
        "A range that starts inside a huge leaf of L1's is aged for L2 as well.",
        f"{RADIX} (kvm_age_radix): the list of the page that is asked for, where the leaf's "
        "first page has it",
        (
            Case("the list of the leaf's first page", INSIDE),
            Case("as in Linux", INSIDE, (Set("RMAP_OF_GFN", 1),), decides=False),
        ),
    ),
    Claim(
        "44-tlbie-for-all-guests",
        "No guest is freed under a tlbie for all of L1's guests.",
        f"{NESTED} (kvmhv_emulate_tlbie_all_lpid)",
        (
            Case("with a reference", ALL),
            Case("as in Linux: without", ALL, (Set("TLBIE_ALL_TAKES_REF", 0),), decides=False),
        ),
    ),
    Claim(
        "45-refusing-is-not-enough",
        "No walker that saw a VM without guests clears R behind its first guest's back.",
        "this project: the fast path refuses a VM that has guests of its own",
        (
            Case("a grace period before the first guest", FIRST),
            Case("without", FIRST, (Set("WAIT_FOR_WALKERS", 0),), decides=False),
        ),
    ),
    Claim(
        "48-who-sets-r",
        "The hardware sets no R in a shadow entry where L1's entry, which is asked, has none.",
        "POWER9 User's Manual 4.10.13.1: it faults where R is missing. The architecture allows "
        "hardware that sets R by itself",
        (
            Case("hardware that faults", BY_HARDWARE),
            Case("hardware that sets R", BY_HARDWARE, (Set("HW_SETS_RC", 1),), decides=False),
        ),
    ),
    Claim(
        "49-taken-from-l2-too",
        "A page that the host takes from L1 is taken from L2 as well, also from one that is "
        "just mapping it.",
        f"{NESTED} (kvmhv_remove_nest_rmap_range), {RADIX} (kvmppc_create_pte)",
        (
            Case("as written", TAKEN),
            Case("no retry check", TAKEN, (NO_RETRY,), decides=False),
            Case(
                "no retry check, L1's entry not looked at again",
                TAKEN,
                (NO_RETRY, Set("SHADOW_RECHECK", 0)),
                decides=False,
            ),
        ),
    ),
    Claim(
        "53-no-guest-out-of-radix",
        "A VM that has left radix mode has no guests of its own.",
        f"{NESTED} (kvmhv_release_all_nested), book3s_hv.c (nesting_enabled); here a hypercall "
        "may run while the mode changes",
        (
            Case("entered under mmu_setup_lock", ENTER),
            Case("entered without it", ENTER, NO_MUTEX, decides=False, heavy=True),
        ),
    ),
]
