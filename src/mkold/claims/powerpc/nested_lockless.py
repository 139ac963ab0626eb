"""Guests of the guest, without the lock: the reverse map and R: claims 40, 46, 47, 50 to 52."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, Scenario, Set, Setup, Swap
from mkold.claims.powerpc.nested_vm import (
    NESTED_SMALL,
    NO_PAGE,
    NO_TABLE,
    NestedVm,
    make_nested_vm,
    never_young_behind,
)
from mkold.claims.powerpc.small_vm import ACCESSED, DIRTY, HVA, PRESENT
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.powerpc.asm.kvm_host import RmapNested, Vcpu
from mkold.kvm.powerpc.nested.fault import kvmhv_handle_nested_set_rc
from mkold.kvm.powerpc.nested.guest import kvmhv_put_nested, kvmhv_remove_nested
from mkold.kvm.powerpc.nested.rmap import kvmhv_insert_nest_rmap, nest_rmap_has
from mkold.kvm.powerpc.nested.tlbie import RIC_TLB, kvmhv_emulate_tlbie_lpid
from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, pte_young
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.switch import kvmppc_switch_mmu_to_hpt
from mkold.lang import (
    READ_ONCE,
    Ptr,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    smp_mb,
    smp_wmb,
    u64,
)

REVIEW = "review of v2 07/10, lore.kernel.org, 20-21 June 2023"
NESTED = "arch/powerpc/kvm/book3s_hv_nested.c"
RADIX = "arch/powerpc/kvm/book3s_64_mmu_radix.c"

# -- claim 40: the reverse map, from one entry to a list --------------------------------------


@kernel
def rmap_has(rmapp: Ptr[u64], entry: u64) -> u64:
    """A reader without the lock: whether the page's list has the entry."""
    rcu_read_lock()
    found = nest_rmap_has(READ_ONCE(rmapp.value), entry)
    rcu_read_unlock()
    return found


def read_and_insert(m: Setup, already: int) -> None:
    """A page with so many entries gets one more while somebody reads."""
    rmapp = m.words(1, "rmap")
    nested = make_nested_vm(m, enabled=False)
    entries = [nested.entry(1, n) for n in range(already + 1)]
    for i, entry in enumerate(entries[:-1]):
        node = m.new(RmapNested, f"old{i}")
        m.call(kvmhv_insert_nest_rmap, rmapp, entry, node)
    node = m.raw(RmapNested.size)
    m.name("node.next", node)
    m.name("node.rmap", node + 1)
    m.thread("reader", (rmap_has, rmapp, entries[0]))
    m.thread("fault", (kvmhv_insert_nest_rmap, rmapp, entries[-1], node))
    m.never(
        "entry-missed",
        lambda end: end.result("reader") == 0,
        "The entry was there all the time, and the reader did not see it.",
    )


def read_and_make_a_list(m: Setup) -> None:
    read_and_insert(m, 1)


def read_and_grow_a_list(m: Setup) -> None:
    read_and_insert(m, 2)


TO_LIST = Scenario("rmap-read-vs-first-node", read_and_make_a_list, NESTED_SMALL)
GROWS = Scenario("rmap-read-vs-next-node", read_and_grow_a_list, NESTED_SMALL)
AS_LINUX = Set("RMAP_INSERT", 1)
NO_RELEASE = Swap("kvmhv_insert_nest_rmap:smp_store_release", "WRITE_ONCE")

# -- claims 46 and 47: an ager without the lock -----------------------------------------------

SHADOW_FIRST = parameter("SHADOW_FIRST", 0)
RC_BARRIER = parameter("RC_BARRIER", 0)  # 1 smp_wmb, 2 smp_mb


@kernel
def rc_barrier() -> None:
    """What orders the two updates."""
    if RC_BARRIER == 1:
        smp_wmb()
    if RC_BARRIER == 2:
        smp_mb()


@kernel
def set_both(l1: Ptr[u64], shadow: Ptr[u64]) -> None:
    """What a fault does that finds R missing (``kvmhv_handle_nested_set_rc``)."""
    if SHADOW_FIRST:
        kvmppc_radix_update_pte(shadow, 0, _PAGE_ACCESSED)
        rc_barrier()
        kvmppc_radix_update_pte(l1, 0, _PAGE_ACCESSED)
    else:
        kvmppc_radix_update_pte(l1, 0, _PAGE_ACCESSED)
        rc_barrier()
        kvmppc_radix_update_pte(shadow, 0, _PAGE_ACCESSED)


@kernel
def clear_both(l1: Ptr[u64], shadow: Ptr[u64]) -> None:
    """What aging does, but without the lock."""
    if pte_young(READ_ONCE(l1.value)):
        kvmppc_radix_update_pte(l1, _PAGE_ACCESSED, 0)
        rc_barrier()
        kvmppc_radix_update_pte(shadow, _PAGE_ACCESSED, 0)


def set_and_clear(m: Setup) -> None:
    """L1's entry has R, the shadow entry has not: a fault and an ager at once."""
    l1, shadow = (m.words(1, name, value=PRESENT) for name in ("l1_pte", "shadow_pte"))
    m.poke(l1, PRESENT | ACCESSED)
    never_young_behind(m, l1, shadow)
    m.thread("fault", (set_both, l1, shadow))
    m.thread("ager", (clear_both, l1, shadow))


SET_CLEAR = Scenario("set-both-vs-clear-both", set_and_clear)
FULL, STORES = Set("RC_BARRIER", 2), Set("RC_BARRIER", 1)
OTHER_ORDER = Set("SHADOW_FIRST", 1)

# -- claims 50 to 52: aging without the lock, as it is here -----------------------------------

LOCKLESS = {**NESTED_SMALL, "NESTED_LOCKLESS": 1}


def _l2_page(m: Setup, *, shadow: bool) -> tuple[NestedVm, int]:
    """Page 0, which L2 maps too, or is about to; its tables are there."""
    nested = make_nested_vm(m)
    nested.vm.map(0, write=False)
    nested.vm.map(1, write=False)
    gp = nested.guest()
    nested.shadow(gp, 1)
    if shadow:
        nested.shadow(gp, 0)
    never_young_behind(m, nested.vm.entry(0), nested.shadow_entry(gp, 0))
    return nested, gp


def age_and_first_access(m: Setup) -> None:
    """L2 touches a page for the first time."""
    nested, gp = _l2_page(m, shadow=False)
    m.thread("ager", nested.vm.age())
    m.thread("fault", nested.fault(gp, 0, name="vcpu"))


def age_and_next_access(m: Setup) -> None:
    """L2 writes to a page that it has read."""
    nested, gp = _l2_page(m, shadow=True)
    vcpu = m.new(Vcpu, "vcpu")
    m.thread("ager", nested.vm.age())
    m.thread("fault", (kvmhv_handle_nested_set_rc, nested.kvm, vcpu, gp, 0, 0, 1))
    m.never(
        "dirty-lost",
        lambda end: not end["shadow"] & end["l1"] & DIRTY,
        "L2 was let write to the page, and an entry has lost C.",
    )


def age_and_another_guest(m: Setup) -> None:
    """The page's reverse map becomes a list."""
    nested, _gp = _l2_page(m, shadow=True)
    second = nested.guest(2)
    nested.shadow(second, 1)
    m.watch("second", nested.shadow_entry(second, 0))
    m.thread("ager", nested.vm.age())
    m.thread("fault", nested.fault(second, 0, name="vcpu"))
    m.never(
        "second-young-alone",
        lambda end: bool(end["second"] & ACCESSED) and not end["l1"] & ACCESSED,
        "The second guest's entry has R and L1's entry has not.",
    )


def age_and_unmap(m: Setup) -> None:
    """The host takes a page that two guests map: the list goes, with its node."""
    nested = make_nested_vm(m)
    nested.vm.map(0)
    for number in (1, 2):
        nested.shadow(nested.guest(number), 0)
    m.thread("ager", nested.vm.age())
    m.thread("host", (kvm_mmu_notifier_invalidate_range_start, nested.kvm, HVA, HVA + 1))


def age_and_flush(m: Setup) -> None:
    """L1 takes all of its guest's translations away: the shadow tables go."""
    nested = make_nested_vm(m)
    nested.vm.map(0)
    nested.shadow(nested.guest(), 0)
    m.thread("ager", nested.vm.age())
    m.thread("L1", (kvmhv_emulate_tlbie_lpid, nested.kvm, 1, RIC_TLB))


def age_and_end(m: Setup) -> None:
    """L1 ends its guest, which goes with its tables."""
    nested = make_nested_vm(m)
    nested.vm.map(0)
    gp = nested.guest()
    nested.shadow(gp, 0)
    m.call(kvmhv_put_nested, nested.kvm, gp)
    m.thread("ager", nested.vm.age())
    m.thread("L1", (kvmhv_remove_nested, nested.kvm, gp))


def age_and_leave_radix(m: Setup) -> None:
    """The VM goes to hash mode while it has two guests that map a page."""
    nested = make_nested_vm(m)
    nested.vm.map(0)
    for number in (1, 2):
        nested.shadow(nested.guest(number), 0)
    m.thread("ager", nested.vm.age())
    m.thread("switch", (kvmppc_switch_mmu_to_hpt, nested.kvm))


FIRST = Scenario("lockless-vs-first-access", age_and_first_access, LOCKLESS, stand_ins=NO_PAGE)
NEXT = Scenario("lockless-vs-next-access", age_and_next_access, LOCKLESS)
ANOTHER = Scenario("lockless-vs-second-guest", age_and_another_guest, LOCKLESS,
                   stand_ins=NO_PAGE)  # fmt: skip
UNMAP = Scenario("lockless-vs-unmap", age_and_unmap, LOCKLESS)
FLUSH = Scenario("lockless-vs-tlbie", age_and_flush, LOCKLESS, stand_ins=NO_TABLE)
LEAVE = Scenario("lockless-vs-to-hpt", age_and_leave_radix, LOCKLESS)
END = Scenario("lockless-vs-end-of-guest", age_and_end, LOCKLESS)
NOT_BY_RCU = (Set("NESTED_FREE", 1),)
BY_STORE = (Swap("pte_xchg:cmpxchg", "WRITE_ONCE"),)
NO_WMB_CREATE = (Drop("set_l1_rc:smp_wmb"),)
NO_WMB_SET = (Drop("set_both_rc:smp_wmb"),)

CLAIMS = [
    Claim(
        "40-rmap-is-just-a-list",
        "The reverse map is just a list: a reader without the lock never misses an entry that "
        "is there while another is put in front.",
        f"Piggin, {REVIEW}; the stores: {NESTED} (kvmhv_insert_nest_rmap)",
        (
            Case("one release store: an entry becomes a list", TO_LIST),
            Case("one release store: a list grows", GROWS),
            Case("Linux's stores: becomes a list", TO_LIST, (AS_LINUX,), decides=False),
            Case("Linux's stores: grows", GROWS, (AS_LINUX,), decides=False),
            Case("one store, no release", TO_LIST, (NO_RELEASE,), decides=False),
        ),
    ),
    Claim(
        "46-clear-in-the-order-of-setting",
        "An ager without the lock may clear R in L1's entry and then in the shadow entry, the "
        "order in which a fault sets them.",
        f"{NESTED} (kvmhv_handle_nested_set_rc), {RADIX} (kvm_age_radix)",
        (
            Case("no barrier", SET_CLEAR),
            Case("smp_mb() in both", SET_CLEAR, (FULL,)),
        ),
    ),
    Claim(
        "47-set-the-shadow-first",
        "If a fault sets R in the shadow entry first and then in L1's, and a barrier stands in "
        "between there and in the ager, what L2 uses never looks idle.",
        "this project",
        (
            Case("smp_wmb() in both", SET_CLEAR, (OTHER_ORDER, STORES)),
            Case("smp_mb() in both", SET_CLEAR, (OTHER_ORDER, FULL)),
            Case("no barrier", SET_CLEAR, (OTHER_ORDER,), decides=False),
        ),
    ),
    Claim(
        "50-lockless-never-idle",
        "Where aging walks the reverse map without the lock, what L2 uses never looks idle.",
        "this project: docs/nested-rmap.md",
        (
            Case("first access", FIRST),
            Case("next access", NEXT),
            Case("another guest maps the page", ANOTHER),
            Case(
                "another guest, not set again", ANOTHER, (Set("SET_AGAIN", 0),), decides=False
            ),
            Case(
                "first access, L1's R not set again",
                FIRST,
                (Set("SET_AGAIN", 0),),
                decides=False,
            ),
            Case("first access, without smp_wmb()", FIRST, NO_WMB_CREATE, decides=False),
            Case(
                "next access, L1's R set first", NEXT, (Set("SET_L1_FIRST", 1),), decides=False
            ),
            Case("next access, without smp_wmb()", NEXT, NO_WMB_SET, decides=False),
        ),
    ),
    Claim(
        "51-lockless-no-use-after-free",
        "It never touches a node, a shadow table or a guest that was freed.",
        "this project: docs/nested-rmap.md",
        (
            Case("the page is taken", UNMAP),
            Case("L1 flushes its guest", FLUSH),
            Case("L1 ends its guest", END),
            Case("the VM goes to hash mode", LEAVE),
            Case("the VM goes to hash mode, freed at once", LEAVE, NOT_BY_RCU, decides=False),
            Case("the page is taken, freed at once", UNMAP, NOT_BY_RCU, decides=False),
            Case("L1 flushes its guest, freed at once", FLUSH, NOT_BY_RCU, decides=False),
            Case("L1 ends its guest, freed at once", END, NOT_BY_RCU, decides=False),
        ),
    ),
    Claim(
        "52-lockless-dirty-bit",
        "It loses no dirty bit of L1's entry or of a shadow entry.",
        "this project: docs/nested-rmap.md",
        (
            Case("pte_xchg", NEXT, only=frozenset({"dirty-lost"})),
            Case("WRITE_ONCE", NEXT, BY_STORE, decides=False, only=frozenset({"dirty-lost"})),
        ),
    ),
]
