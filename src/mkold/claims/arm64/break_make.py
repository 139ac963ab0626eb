"""Break before make, its marker, and the flush before a table is freed: claims 114 to 118."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Skip
from mkold.claims.arm64.guest import GIVES_UP, guest_walks, mapped_frame
from mkold.claims.arm64.small_vm import (
    AF,
    ALL_SHARE,
    FREES,
    PFN_SHIFT,
    SMALL,
    VALID,
    VCPU_STORE,
    Vm,
    make_vm,
)
from mkold.claims.generic.guest import guest_reads, reuse_frame
from mkold.kvm.arm64.asm.kvm_host import Kvm, KvmMmuMemoryCache, Vcpu
from mkold.kvm.arm64.hw import mmu_walk_s2
from mkold.kvm.arm64.pgtable.geometry import table_index
from mkold.kvm.arm64.pgtable.map import stage2_map_walk_leaf
from mkold.kvm.arm64.pgtable.walk import (
    KVM_PGTABLE_WALK_HANDLE_FAULT,
    KVM_PGTABLE_WALK_LEAF,
    KVM_PGTABLE_WALK_SHARED,
)
from mkold.lang import READ_ONCE, Ptr, addr, kernel, u64

PGTABLE = "arch/arm64/kvm/hyp/pgtable.c"
V2_5 = "Zhao and Upton, lore 20230526234435.662652-6-yuzhao@google.com"

# -- claim 114: two faults and one entry -----------------------------------------------------


def store_of(m: Setup, vcpu: int, name: str) -> int:
    """The table in a vCPU's store, its entries watched; its address."""
    table = m.peek(vcpu + VCPU_STORE + KvmMmuMemoryCache.offset("objects"))
    m.watch(f"{name}0", table)
    m.watch(f"{name}1", table + 1)
    return table


def never_lost(m: Setup, vm: Vm, stores: dict[str, int], pages: dict[str, int]) -> None:
    """Who was told that its page is mapped finds it mapped."""
    m.watch("root0", vm.root())

    def lost(end: End) -> bool:
        names = [name for name, table in stores.items() if end["root0"] >> 12 == table]
        for thread, page in pages.items():
            done = end.result(thread) == 0
            if done and not (names and end[f"{names[0]}{page}"] & VALID):
                return True
        return False

    m.never("mapping-lost", lost, "A fault mapped its page, and the tree does not.")


def two_faults(m: Setup) -> None:
    """Pages 0 and 1 have no table yet."""
    vm = make_vm(m)
    first, second = vm.vcpu("first"), vm.vcpu("second")
    stores = {"t": store_of(m, first, "t"), "u": store_of(m, second, "u")}
    vm.watch_count(vm.root(), "root_count")
    m.thread("first", vm.maps(first, 0))
    m.thread("second", vm.maps(second, 1))
    never_lost(m, vm, stores, {"first": 0, "second": 1})
    m.never(
        "miscounted",
        lambda end: end["root_count"] != 2,
        "The root has one entry, and its count is not one and one.",
    )


TWO_FAULTS = Scenario(
    "two-faults-and-one-entry", two_faults, SMALL, stand_ins=FREES | ALL_SHARE
)
NO_MARKER = (Set("BBM_MARKER", 0),)

# -- claim 115: the marker is the accessed bit -----------------------------------------------


@kernel
def fault_visits(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, pfn: u64) -> u64:
    """Of a fault's walk the visit to an entry of the root: a table is put there."""
    data = addr(vcpu.arch.walk)
    data.gfn = gfn
    data.end = gfn + 1
    data.pfn = pfn
    data.mc = addr(vcpu.arch.mmu_page_cache)
    ptep = kvm.arch.mmu.pgd + table_index(gfn, 2)
    flags = KVM_PGTABLE_WALK_LEAF | KVM_PGTABLE_WALK_SHARED | KVM_PGTABLE_WALK_HANDLE_FAULT
    return stage2_map_walk_leaf(kvm, ptep, READ_ONCE(ptep.value), 2, gfn, flags, data)


def age_visited_entry(m: Setup) -> None:
    """A block of pages 0 and 1 gives way to a table, for two faults at once, as it is aged."""
    vm = make_vm(m)
    vm.map(0, pages=2, pfn=0x50)
    m.watch("root0", vm.root())
    vm.watch_count(vm.root(), "root_count")
    m.thread("ager", vm.age())
    for gfn, name in enumerate(("first", "second")):
        vcpu = vm.vcpu(name)
        m.thread(name, (fault_visits, vm.kvm, vcpu, gfn, 0x70 + gfn))
    m.never(
        "miscounted",
        lambda end: end["root_count"] != 2,
        "The root has one entry, and its count is not one and one.",
    )


def age_one_locked(m: Setup) -> None:
    """One fault changes page 0's frame while it is aged."""
    vm = make_vm(m)
    vm.map(0)
    vm.map(1)
    vm.watch(0)
    vcpu = vm.vcpu("vcpu", stock=0)
    made = (m.peek(vm.entry(0)) & 0xFFF) | 0x70 << PFN_SHIFT
    m.thread("ager", vm.age())
    m.thread("fault", vm.maps(vcpu, 0, pfn=0x70))
    m.never(
        "fault-undone",
        lambda end: end.result("fault") == 0 and end["pte0"] & ~AF != made & ~AF,
        "The entry is not what the fault made of it.",
    )


AGE_VISITED = Scenario("age-vs-two-visits-to-a-block", age_visited_entry, SMALL)
AGE_ONE = Scenario("age-vs-fault-on-a-page", age_one_locked, SMALL)
CMPXCHG_VISITS = "cmpxchg, against two visits to the entry"
BY_BIT = (Set("STAGE2_CLEAR_YOUNG", 1),)

# -- claim 116: the flush before the table is freed ------------------------------------------


def hardware_and_unmap(m: Setup) -> None:
    """The guest walks to page 0, the last of its table, which is unmapped."""
    vm = make_vm(m)
    vm.map(0)
    vm.map(2)
    vcpu = vm.vcpu("vcpu")
    m.thread("guest", (guest_walks, vm.kvm, vcpu, 0))
    m.thread("host", vm.unmap())


WALKED = Scenario("hardware-vs-unmapped-table", hardware_and_unmap, {**SMALL, "UNMAP_FREE": 1})
DEFERRED = (Set("DEFER_TABLE_TLBI", 1),)

# -- claims 117 and 118: the flush before the frame is used again ----------------------------


def stale_tlb(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(1)
    frame = mapped_frame(vm, value=7)
    vcpu = vm.vcpu("vcpu")
    m.call(mmu_walk_s2, vm.kvm, vcpu, 0, 0)  # the TLB knows the page
    m.thread("guest", (guest_reads, vm.kvm, vcpu, 0))
    m.thread("host", vm.unmap(), (reuse_frame, frame))


def stale_tlb_of_table(m: Setup) -> None:
    """A block takes the place of pages 0 and 1; the TLB knows page 1, the fault is on 0."""
    vm = make_vm(m)
    vm.map(0)
    frame = mapped_frame(vm, 1, value=7)
    guest, vcpu = vm.vcpu("guest", stock=0), vm.vcpu("vcpu", stock=0)
    m.call(mmu_walk_s2, vm.kvm, guest, 1, 0)
    m.thread("guest", (guest_reads, vm.kvm, guest, 1))
    # Where the block's frames lie, the guest may look: words of the scenario's own.
    block = m.words(32, "block", align=16)
    m.thread("fault", vm.maps(vcpu, 0, 2, block >> 3), (reuse_frame, frame))


STALE = Scenario("stale-tlb-vs-frame-reuse", stale_tlb, SMALL, stand_ins=GIVES_UP)
STALE_TABLE = Scenario("stale-tlb-vs-collapse", stale_tlb_of_table, SMALL, stand_ins=GIVES_UP)

CLAIMS = [
    Claim(
        "114-locked-marker",
        "Two faults at one entry, with mmu_lock for reading, do not both make it: who "
        "breaks it "
        "leaves a marker, and the other tries again.",
        f"{PGTABLE} (stage2_try_break_pte), commit 0ab12f3574db",
        (
            Case("as written", TWO_FAULTS),
            Case(
                "a broken entry is just empty", TWO_FAULTS, NO_MARKER, decides=False, heavy=True
            ),
        ),
    ),
    Claim(
        "115-the-marker-is-the-accessed-bit",
        "Clearing just the accessed bit, safe on powerpc and on x86 with A/D bits, is safe on "
        "arm64 too.",
        f"the review's argument for powerpc, asked here of arm64, where the marker of an entry "
        f"that is being changed is the accessed bit ({PGTABLE}); {V2_5} clears by cmpxchg",
        (
            Case("the bit, against two visits to the entry", AGE_VISITED, BY_BIT),
            Case("the bit, against one fault", AGE_ONE, BY_BIT),
            Case(CMPXCHG_VISITS, AGE_VISITED, decides=False, heavy=True),
            Case("cmpxchg, against one fault", AGE_ONE, decides=False),
        ),
    ),
    Claim(
        "116-flush-before-free",
        "The hardware never walks a table that was freed: its entry is flushed at once, "
        "not with the range.",
        "commit f62d4c3eb687 (\"KVM: arm64: Don't defer TLB invalidation when zapping table "
        'entries")',
        (
            Case("as written", WALKED),
            Case("freed by RCU", WALKED, (Set("UNMAP_FREE", 0),)),
            Case("deferred, as before", WALKED, DEFERRED, decides=False),
            Case(
                "deferred, freed by RCU",
                WALKED,
                (*DEFERRED, Set("UNMAP_FREE", 0)),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "117-stale-tlb",
        "Once a page is unmapped its frame can be used again: no vCPU reaches it through "
        "its TLB.",
        f"{PGTABLE} (stage2_unmap_put_pte)",
        (
            Case("as written", STALE),
            Case("no flush", STALE, (Skip("__kvm_tlb_flush_vmid_ipa"),), decides=False),
        ),
    ),
    Claim(
        "118-collapse-flushes-it-all",
        "When a block has taken a table's place, no vCPU uses what the table said.",
        'commit 3a0b870e3448 ("KVM: arm64: Fix handling of merging tables into a block entry")',
        (
            Case("as written", STALE_TABLE),
            Case(
                "one page flushed, as before",
                STALE_TABLE,
                (Set("COLLAPSE_FLUSHES_PAGE", 1),),
                decides=False,
            ),
        ),
    ),
]
