"""Chains of the shadow MMU's reverse map under their lock bit: claims 90 to 94."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, Scenario, Setup, Skip, Split, Swap
from mkold.claims.x86.shadow_vm import (
    AD,
    NO_AD,
    PRESENT,
    ROLE_OTHER,
    ROLE_THIRD,
    SMALL,
    Vm,
    make_vm,
    zap_table,
)
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.shadow.age import kvm_rmap_age_gfn_range
from mkold.kvm.x86.shadow.rmap import (
    KVM_RMAP_LOCKED,
    KVM_RMAP_MANY,
    kvm_rmap_get,
    kvm_rmap_lock_readonly,
    kvm_rmap_unlock_readonly,
    pte_list_remove,
)
from mkold.kvm.x86.shadow.rmap_zap import rmap_add
from mkold.kvm.x86.shadow.spte_update import mmu_spte_clear_track_bits, mmu_spte_update
from mkold.kvm.x86.shadow.zap import drop_spte
from mkold.lang import Ptr, addr, kernel, smp_mb, u64

MMU = "arch/x86/kvm/mmu/mmu.c"
WALK = f"{MMU}; 4834eaded91e, bb6c7749ccee (lockless walks of rmaps, in 6.15)"
TAKE = "__kvm_rmap_lock:try_cmpxchg_acquire"
WRITER_LETS_GO = "kvm_rmap_unlock:smp_store_release"
READER_LETS_GO = "kvm_rmap_unlock_readonly:smp_store_release"
NO_READERS_BIT = {"kvm_rmap_lock_readonly": kvm_rmap_get}
NO_WRITERS_BIT = {"kvm_rmap_lock": kvm_rmap_get}
# -- claim 90: what is listed is live ---------------------------------------------------------


def age_and_zap(m: Setup) -> None:
    """The only table that maps a page goes."""
    vm = make_vm(m)
    vm.map(0)
    m.thread("ager", vm.age())
    m.thread("zapper", (zap_table, vm.kvm, vm.table(0)))


def age_and_zap_one(m: Setup) -> None:
    """One of two tables that map a page goes."""
    vm = make_vm(m)
    vm.map(0)
    vm.other(0)
    m.thread("ager", vm.age())
    m.thread("zapper", (zap_table, vm.kvm, vm.table(0)))


def age_and_first(m: Setup) -> None:
    """A page is mapped by a table that was just made."""
    vm = make_vm(m)
    m.thread("ager", vm.age())
    m.thread("fault", vm.maps(0))


FIRST = Scenario("age-vs-first-entry", age_and_first, SMALL | AD)
ZAP = Scenario("age-vs-zap", age_and_zap, SMALL | AD)
ZAP_NO_AD = Scenario("age-vs-zap-noad", age_and_zap, SMALL | NO_AD)
ZAP_ONE = Scenario("age-vs-zap-one-of-two", age_and_zap_one, SMALL | AD)
ZAP_BARE_READER = Scenario(
    "age-vs-zap-bare-reader", age_and_zap, SMALL | AD, stand_ins=NO_READERS_BIT
)
ZAP_BARE_WRITER = Scenario(
    "age-vs-zap-bare-writer", age_and_zap, SMALL | AD, stand_ins=NO_WRITERS_BIT
)
ONE_BARE_WRITER = Scenario(
    "age-vs-zap-one-of-two-bare-writer", age_and_zap_one, SMALL | AD, stand_ins=NO_WRITERS_BIT
)

# -- claim 91: not present first, then out of the chain ---------------------------------------


@kernel
def unlist_first(kvm: Ptr[Kvm], rmap_head: Ptr[u64], sptep: Ptr[u64]) -> None:
    """``kvm_zap_one_rmap_spte`` in the other order."""
    pte_list_remove(addr(kvm.arch.shadow.pte_list_desc_cache), sptep, rmap_head)
    mmu_spte_clear_track_bits(kvm, sptep)


@kernel
def drop_one(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], index: u64) -> None:
    """One leaf goes, its table stays."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    drop_spte(kvm, sp, index)
    kvm_mmu_unlock(kvm)


def age_and_drop(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.watch(0)
    m.thread("ager", vm.age())
    m.thread("host", (drop_one, vm.kvm, vm.table(0), 0))
    m.never(
        "brought-back",
        lambda end: bool(end["spte0"] & PRESENT),
        "The page is mapped by an SPTE that no chain lists.",
    )


DROP = Scenario("age-vs-drop", age_and_drop, SMALL | AD)
DROP_NO_AD = Scenario("age-vs-drop-noad", age_and_drop, SMALL | NO_AD)
UNLIST_FIRST = {"kvm_zap_one_rmap_spte": unlist_first}
OTHER_ORDER = Scenario("age-vs-drop-unlist-first", age_and_drop, SMALL | AD,
                       stand_ins=UNLIST_FIRST)  # fmt: skip
OTHER_ORDER_NO_AD = Scenario("age-vs-drop-unlist-first-noad", age_and_drop, SMALL | NO_AD,
                             stand_ins=UNLIST_FIRST)  # fmt: skip
OTHER_ORDER_ZAP = Scenario("age-vs-zap-unlist-first", age_and_zap, SMALL | NO_AD,
                           stand_ins=UNLIST_FIRST)  # fmt: skip
BY_STORE = (Swap("age_spte_lockless:cmpxchg", "WRITE_ONCE"),)

# -- claim 92: present before it is listed ----------------------------------------------------


@kernel
def use_then_age(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot]) -> tuple[u64, u64]:
    """The guest reads page 0; then the host asks whether it is young."""
    ok, _pfn = mmu_walk_tdp(kvm, vcpu, 0, 0)
    smp_mb()
    return ok, kvm_rmap_age_gfn_range(slot, 0, 1, 0)


def use_while_mapped(m: Setup) -> None:
    """The guest uses a page that another vCPU's fault is mapping."""
    vm = make_vm(m)
    vm.map(1)
    m.thread("fault", vm.maps(0))
    m.thread("guest", (use_then_age, vm.kvm, vm.vcpu, vm.slot))
    m.never(
        "young-missed",
        lambda end: end.result("guest", 0, 0) == 1 and not end.result("guest", 0, 1),
        "The guest has used the page, and aging does not find it.",
    )


@kernel
def list_first(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    sp: Ptr[KvmMmuPage], index: u64, gfn: u64, spte: u64,
) -> None:  # fmt: skip
    """``mmu_set_spte`` of an SPTE that is not present, in the other order."""
    rmap_add(vcpu, slot, sp_spt(sp) + index, gfn, sp.level)
    mmu_spte_update(sp_spt(sp) + index, spte)


USE = Scenario("use-vs-fault", use_while_mapped, SMALL | AD)
USE_LISTED_FIRST = Scenario(
    "use-vs-fault-listed-first", use_while_mapped, SMALL | AD,
    stand_ins={"mmu_set_spte": list_first},
)  # fmt: skip

# -- claim 93: the reader puts the word back --------------------------------------------------


def _listing(m: Setup, vm: Vm, role: int) -> None:
    m.watch("rmap0", vm.rmap(0))
    m.thread("ager", vm.age())
    m.thread("fault", vm.maps_other(0, role))
    m.never(
        "listing-lost",
        lambda end: end["rmap0"] & (KVM_RMAP_MANY | KVM_RMAP_LOCKED) != KVM_RMAP_MANY,
        "The word does not lead to the chain, or has the bit for ever.",
    )


def age_and_list(m: Setup) -> None:
    """A second table comes to map the page: the word becomes that of a chain."""
    vm = make_vm(m)
    vm.map(0)
    vm.other(1)
    _listing(m, vm, ROLE_OTHER)


def age_and_grow(m: Setup) -> None:
    """A third one does: the head is full, and a new one comes before it."""
    vm = make_vm(m)
    vm.map(0)
    vm.other(0)
    vm.other(1, ROLE_THIRD)
    head = m.peek(vm.rmap(0))
    _listing(m, vm, ROLE_THIRD)
    m.never("head-lost", lambda end: end["rmap0"] == head, "The new head is lost.")


LIST = Scenario("age-vs-second-entry", age_and_list, SMALL | AD)
GROW = Scenario("age-vs-third-entry", age_and_grow, SMALL | AD)

# -- claim 94: readers exclude each other -----------------------------------------------------


@kernel
def hold_and_count(rmap_head: Ptr[u64], counter: Ptr[u64]) -> None:
    """Plain accesses: that they do not race is the claim."""
    val = kvm_rmap_lock_readonly(rmap_head)
    counter.value += 1
    kvm_rmap_unlock_readonly(rmap_head, val)


def two_readers(m: Setup, *, mapped: bool) -> None:
    vm = make_vm(m)
    if mapped:
        vm.map(0)
    counter = m.words(1, "counter")
    for name in ("first", "second"):
        m.thread(name, (hold_and_count, vm.rmap(0), counter))


def readers_of_a_page(m: Setup) -> None:
    two_readers(m, mapped=True)


def readers_of_nothing(m: Setup) -> None:
    """An empty word has no chain to protect, and is not locked."""
    two_readers(m, mapped=False)


READERS = Scenario("two-readers", readers_of_a_page, SMALL | AD)
READERS_OF_NOTHING = Scenario("two-readers-of-an-empty-word", readers_of_nothing, SMALL | AD)

CLAIMS = [
    Claim(
        "90-listed-is-live",
        "A page table is freed only after its SPTEs have left their rmaps, so an SPTE pointer "
        "that is listed is live while its chain is locked.",
        WALK,
        (
            Case("as written, the only table", ZAP),
            Case("as written, the only table, no A/D", ZAP_NO_AD),
            Case("as written, one of two tables", ZAP_ONE),
            Case("as written, a new table", FIRST, decides=False, heavy=True),
            Case(
                "the ager without the bit",
                ZAP_BARE_READER,
                (Skip("kvm_rmap_unlock_readonly"),),
                decides=False,
            ),
            Case("the zapper without the bit", ZAP_BARE_WRITER, decides=False, heavy=True),
            Case("the zapper without the bit, two tables", ONE_BARE_WRITER, decides=False),
            Case(
                "the table freed with its SPTEs listed",
                ZAP,
                (Skip("mmu_page_zap_pte"),),
                decides=False,
            ),
            Case(
                "the bit taken without acquire",
                ZAP_ONE,
                (Swap(TAKE, "try_cmpxchg_relaxed"),),
                decides=False,
            ),
            Case(
                "the reader lets go without release",
                ZAP_ONE,
                (Swap(READER_LETS_GO, "WRITE_ONCE"),),
                decides=False,
            ),
            Case(
                "the writer lets go without release, of a new table",
                FIRST,
                (Swap(WRITER_LETS_GO, "WRITE_ONCE"),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "91-order-of-removal",
        "An SPTE has to be made non-present before it leaves its rmap.",
        f"{MMU} (drop_spte); inferred",
        (
            Case("out of the chain first", OTHER_ORDER),
            Case("out of the chain first, no A/D", OTHER_ORDER_NO_AD),
            Case("out of the chain first, the table is freed", OTHER_ORDER_ZAP),
            Case("as written", DROP, decides=False),
            Case("as written, no A/D", DROP_NO_AD, decides=False, heavy=True),
            Case("as written, aged by WRITE_ONCE", DROP_NO_AD, BY_STORE, decides=False),
            Case(
                "out of the chain first, aged by WRITE_ONCE",
                OTHER_ORDER_NO_AD,
                BY_STORE,
                decides=False,
            ),
        ),
        asks="possible",
    ),
    Claim(
        "92-mapped-before-listed",
        "A page that the guest has used can be missed by aging, as its SPTE is present before "
        "it is listed.",
        f"{MMU} (mmu_set_spte); inferred",
        (
            Case("as written", USE),
            Case("listed first", USE_LISTED_FIRST, decides=False, heavy=True),
        ),
        asks="possible",
    ),
    Claim(
        "93-word-put-back",
        "A reader puts the word of a page back as it was, and no entry that a writer lists is "
        "lost.",
        WALK,
        (
            Case("as written, a chain begins", LIST),
            Case("as written, a chain grows", GROW),
            Case(
                "the bit taken by a read and a write",
                LIST,
                (Split(TAKE),),
                decides=False,
                heavy=True,
            ),
            Case(
                "the bit taken by a read and a write, a chain grows",
                GROW,
                (Split(TAKE),),
                decides=False,
                heavy=True,
            ),
            Case(
                "readers do not let go",
                LIST,
                (Drop(READER_LETS_GO),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "94-readers-exclude",
        "The bit is no reader-writer lock: two agers are never at one chain at once.",
        WALK,
        (
            Case("a page that is mapped", READERS),
            Case("a page that is not", READERS_OF_NOTHING, decides=False),
        ),
    ),
]
