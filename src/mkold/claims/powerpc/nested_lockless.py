"""Guests of the guest, without the lock: the reverse map, and R: claims 40, 46 and 47."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Set, Setup, Swap
from mkold.claims.powerpc.nested_vm import (
    NESTED_SMALL,
    make_nested_vm,
    never_young_behind,
)
from mkold.claims.powerpc.small_vm import ACCESSED, PRESENT
from mkold.kvm.powerpc.asm.kvm_host import RmapNested
from mkold.kvm.powerpc.nested.rmap import kvmhv_insert_nest_rmap, nest_rmap_has
from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, pte_young
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
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
]
