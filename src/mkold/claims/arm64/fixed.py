"""Bugs that the kernel has had and fixed, each as the variant that it was: claims 119 to
127."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup
from mkold.claims.arm64.break_make import fault_visits
from mkold.claims.arm64.small_vm import (
    AF,
    ALL_SHARE,
    FREES,
    PFN_SHIFT,
    SMALL,
    VALID,
    W,
    make_vm,
)
from mkold.claims.arm64.tables import flush_shadow_all
from mkold.kvm.arm64.asm.kvm_host import ESR_ELx_FSC_PERM, Kvm, Vcpu
from mkold.kvm.arm64.hw import mmu_walk_s2, tlb_holds
from mkold.kvm.arm64.mmu import map_found
from mkold.kvm.arm64.pgtable.attr import kvm_pgtable_stage2_relax_perms
from mkold.kvm.arm64.pgtable.map import stage2_map_walk_leaf
from mkold.kvm.arm64.pgtable.pte import S2AP_W
from mkold.kvm.arm64.pgtable.walk import (
    KVM_PGTABLE_WALK_HANDLE_FAULT,
    KVM_PGTABLE_WALK_LEAF,
    KVM_PGTABLE_WALK_SHARED,
    kvm_pgtable_walk,
)
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.lang import Ptr, addr, kernel, u64

SLOT = Kvm.offset("slots")
FSC = Vcpu.layout.field("arch.fsc").offset
FAULT_LEVEL = Vcpu.layout.field("arch.fault_level").offset

# -- claim 119: the books of a collapse ------------------------------------------------------


def collapse(m: Setup) -> None:
    """Pages 0 and 1 give way to a block; nobody looks on."""
    vm = make_vm(m)
    vm.map(0)
    vm.map(1)
    vm.watch_count(vm.root(), "root_count")
    vm.watch_count(vm.table(0), "table_count")
    vcpu = vm.vcpu("vcpu", stock=0)
    m.thread("fault", vm.maps(vcpu, 0, 2, 0x60))
    m.never(
        "table-leaked",
        lambda end: end["table_count"] == 1,
        "The table is out of the tree, and one reference keeps it for ever.",
    )
    m.never(
        "root-miscounted",
        lambda end: end["root_count"] != 2,
        "The root has one entry, and its count is not one and one.",
    )


COLLAPSE = Scenario("collapse", collapse, {**SMALL, "COLLAPSE_FREES_AT_ONCE": 1})


def collapse_and_sibling(m: Setup) -> None:
    """Another fault, in its read section still, maps page 1 into the table that gives way."""
    vm = make_vm(m)
    vm.map(0)
    table = vm.table(0)
    vm.watch_count(table, "table_count")
    vm.watch_count(vm.root(), "root_count")
    m.watch("root0", vm.root())
    m.thread("huge", vm.maps(vm.vcpu("huge", stock=0), 0, 2, 0x60))
    m.thread("small", vm.maps(vm.vcpu("small", stock=0), 1, 1, 0x61))
    m.never(
        "table-leaked",
        lambda end: end["table_count"] == 1 and end["root0"] >> PFN_SHIFT != table,
        "The table is out of the tree, and one reference keeps it for ever.",
    )
    m.never(
        "root-miscounted",
        lambda end: end["root_count"] != 2,
        "The root has one entry, and its count is not one and one.",
    )


SIBLING = Scenario(
    "collapse-vs-sibling", collapse_and_sibling, SMALL, stand_ins=FREES | ALL_SHARE
)
COUNTED_AT_ONCE = (Set("COLLAPSE_FREES_AT_ONCE", 1),)

# -- claim 121: memory taken in a walk -------------------------------------------------------


def map_new_table(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(2)
    m.thread("fault", vm.maps(vm.vcpu("vcpu"), 0))


NEW_TABLE = Scenario("fault-takes-a-table", map_new_table, SMALL)

# -- claim 122: which frame ------------------------------------------------------------------


def block_and_page(m: Setup) -> None:
    """One fault maps a block of pages 0 and 1, another puts a table there, for page 1 alone."""
    vm = make_vm(m)
    vm.map(2)
    huge, small = vm.vcpu("huge", stock=0), vm.vcpu("small")
    table = m.peek(small + STORE)
    m.watch("root0", vm.root())
    m.watch("page0", table)
    m.watch("page1", table + 1)
    m.thread("huge", (fault_maps_block, vm.kvm, huge, 0x60))
    m.thread("small", (fault_visits, vm.kvm, small, 1, 0x61))

    def wrong(end: End) -> bool:
        if end["root0"] >> PFN_SHIFT != table:
            return False
        pages = (end["page0"], end["page1"])
        return any(
            pte & VALID and pte >> PFN_SHIFT & 0xFF != 0x60 + i for i, pte in enumerate(pages)
        )

    m.never("wrong-frame", wrong, "A page is mapped to the frame of another.")


@kernel
def fault_maps_block(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], pfn: u64) -> u64:
    """A fault on a block of pages 0 and 1, but for what it does with a table that is there."""
    data = addr(vcpu.arch.walk)
    data.gfn = 0
    data.end = 2
    data.pfn = pfn
    flags = KVM_PGTABLE_WALK_LEAF | KVM_PGTABLE_WALK_SHARED | KVM_PGTABLE_WALK_HANDLE_FAULT
    return kvm_pgtable_walk(kvm, 0, 2, flags, stage2_map_walk_leaf, data)


STORE = Vcpu.layout.field("arch.mmu_page_cache.objects").offset
COUNTED = (Set("PA_COUNTER", 1),)
BLOCK_AND_PAGE = Scenario(
    "block-vs-page",
    block_and_page,
    SMALL,
    stand_ins=FREES,
)

# -- claim 123: who loses the race -----------------------------------------------------------


@kernel
def permission_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """A write fault on a page that may be written; whether the TLB still forbids it."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    kvm_pgtable_stage2_relax_perms(kvm, vcpu, gfn, S2AP_W)
    kvm_mmu_read_unlock(kvm)
    return tlb_holds(vcpu, gfn)


def two_permission_faults(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0, write=False)
    vm.watch(0)
    for name in ("first", "second"):
        vcpu = vm.vcpu(name, stock=0)
        m.call(mmu_walk_s2, vm.kvm, vcpu, 0, 0)  # read-only, and the TLB knows it
        m.thread(name, (permission_fault, vm.kvm, vcpu, 0))
    m.never(
        "faults-again",
        lambda end: bool(end.result("first") or end.result("second")),
        "The entry allows the write, and the vCPU's TLB forbids it for ever.",
    )
    m.never(
        "not-relaxed",
        lambda end: not end["pte0"] & W or not end["pte0"] & AF,
        "The entry is not writable, or not young any more.",
    )


TWO_PERMS = Scenario("two-permission-faults", two_permission_faults, SMALL)

# -- claim 125: a range is aged --------------------------------------------------------------


def age_two(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.map(1)
    vm.watch(1)
    m.thread("ager", vm.age_locked(0, 2))
    m.never(
        "young-missed",
        lambda end: bool(end["pte1"] & AF),
        "Page 1 was young and in the range, and nobody looked at it.",
    )


AGE_TWO = Scenario("age-two-pages", age_two, SMALL)

# -- claim 126: a permission fault that maps -------------------------------------------------


def permission_fault_on_block(m: Setup) -> None:
    """A block is read-only; the host has small pages now, and the guest writes."""
    vm = make_vm(m)
    vm.map(0, pages=2, pfn=0x60, write=False)
    vcpu = vm.vcpu("vcpu")
    m.poke(vcpu + FSC, ESR_ELx_FSC_PERM)
    m.poke(vcpu + FAULT_LEVEL, 2)
    m.thread("fault", (map_found, vm.kvm, vcpu, vm.kvm + SLOT, 0, 1, 0x60, 1, 3, 0))


PERM_ON_BLOCK = Scenario("permission-fault-on-a-block", permission_fault_on_block, SMALL)

# -- claim 127: taking down in steps ---------------------------------------------------------


def destroy(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.map(1)
    vm.map(2)
    m.thread("exit", (flush_shadow_all, vm.kvm))


DESTROY = Scenario("destroy-in-steps", destroy, {**SMALL, "DESTROY_STEP": 1})

CLAIMS = [
    Claim(
        "119-books-of-a-collapse",
        "A table that gave way to a block is freed, and its parent's count is right.",
        'commits f6a27d6dc51b ("KVM: arm64: Drop last page ref in '
        'kvm_pgtable_stage2_free_removed()"), 5c646b7e1d8b',
        (
            Case("as written", COLLAPSE),
            Case("a sibling's fault fills the table meanwhile", SIBLING),
            Case(
                "counted without a grace period, and a sibling",
                SIBLING,
                COUNTED_AT_ONCE,
                decides=False,
                heavy=True,
            ),
            Case(
                "the last reference is kept, as before f6a27d6dc51b",
                COLLAPSE,
                (Set("PUT_UNLINKED_ROOT", 0),),
                decides=False,
            ),
            Case(
                "one reference too many is taken, as before 5c646b7e1d8b",
                COLLAPSE,
                (Set("COLLAPSE_GETS_TWICE", 1),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "120-read-again-after-a-visit",
        "The walk does not go down into a table that its visitor has just freed.",
        'commit a9f0e3d5a089 ("KVM: arm64: Reload PTE after ..."); at EL2 there is no RCU',
        (
            Case("as written, without RCU", COLLAPSE),
            Case("not read again", COLLAPSE, (Set("RELOAD_AFTER_VISIT", 0),), decides=False),
        ),
    ),
    Claim(
        "121-no-sleep-in-a-walk",
        "A shared walk, which is an RCU read section, does not sleep: its tables were taken "
        "before.",
        'commit b7833bf202e3 ("KVM: arm64: Don\'t acquire RCU ...")',
        (
            Case("as written", NEW_TABLE),
            Case("taken in the walk", NEW_TABLE, (Set("ALLOC_IN_WALK", 1),), decides=False),
        ),
    ),
    Claim(
        "122-frame-by-address",
        "A fault maps a page to its own frame, also if its leaf was split under it.",
        'commit 1f0f4a2ef7a5 ("KVM: arm64: Infer the PA offset ...")',
        (
            Case("as written", BLOCK_AND_PAGE, only=frozenset({"wrong-frame"})),
            Case(
                "frames counted",
                BLOCK_AND_PAGE,
                (Set("PA_COUNTER", 1),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "123-loser-flushes-too",
        "After a permission fault the vCPU's TLB allows what the entry allows, also if another "
        "vCPU was faster.",
        'commit be097997a273 ("KVM: arm64: Always invalidate TLB ...")',
        (
            Case("as written", TWO_PERMS),
            Case(
                "who loses the race does not flush",
                TWO_PERMS,
                (Set("LOSER_KEEPS_TLB", 1),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "125-every-leaf-of-the-range",
        "Aging a range looks at every leaf in it.",
        'commit df6556adf27b ("KVM: arm64: Correctly handle page aging ...")',
        (
            Case("as written", AGE_TWO),
            Case("one leaf, as before", AGE_TWO, (Set("AGE_ONE_LEAF", 1),), decides=False),
        ),
    ),
    Claim(
        "126-store-on-every-fault",
        "A permission fault that has to map finds the vCPU's store of tables.",
        "commit 157dbc4a321f (memcache pointer)",
        (
            Case("as written", PERM_ON_BLOCK),
            Case("unset", PERM_ON_BLOCK, (Set("MEMCACHE_UNSET", 1),), decides=False),
        ),
    ),
    Claim(
        "127-taken-down-in-steps",
        "A tree can be taken down in steps: a table goes when it is empty, and its entry with "
        "it.",
        "commits e9abe311f356 (reverted), 156f70afcfec",
        (
            Case("as fixed", DESTROY),
            Case("at once", DESTROY, (Set("DESTROY_STEP", 0),)),
            Case(
                "a step frees tables that are not empty",
                DESTROY,
                (Set("DESTROY_PUTS_TABLES", 1),),
                decides=False,
            ),
        ),
    ),
]
