"""Roots, yields and flushes: claims 67 to 72, 82.

Each fault of its time is a build parameter; the source as it is has the fix.
"""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup
from mkold.claims.generic.guest import guest_reads, reuse_frame
from mkold.claims.x86.small_tdp import (
    AD,
    FIRST_PFN,
    HVA,
    NP,
    PRESENT,
    Vm,
    make_vm,
    maps,
)
from mkold.claims.x86.tdp_guest import GIVES_UP, frame
from mkold.claims.x86.tdp_protect import note_dirty
from mkold.ir.variant import Edit
from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_start,
)
from mkold.kvm.types import Kvm as GenericKvm
from mkold.kvm.types import TlbEntry
from mkold.kvm.types import Vcpu as GenericVcpu
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.tdp.iter import SHARED
from mkold.kvm.x86.tdp.roots import (
    ROOT_REFERENCED,
    kvm_tdp_mmu_invalidate_roots,
    kvm_tdp_mmu_put_root,
    tdp_mmu_next_root,
)
from mkold.kvm.x86.tdp.zap import (
    __tdp_mmu_zap_root,
    kvm_tdp_mmu_zap_invalidated_roots,
    tdp_mmu_zap_leafs,
)
from mkold.lang import (
    NULL,
    Ptr,
    addr,
    cast,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

STOP = GenericKvm.offset("stop")
OLD = {**AD, "LINUX_VERSION": 612}
YIELDS = {**AD, "YIELD_EVERY": 1}
NEW_PFN, LARGE_PFN = 0x77, 0x60


# -- 67: unmapping from roots that are invalid (d62007edf01f) ---------------------------------


@kernel
def zaps_invalid_roots(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """The second half of ``kvm_mmu_zap_all_fast``."""
    kvm_mmu_read_lock(kvm, waits)
    kvm_tdp_mmu_zap_invalidated_roots(kvm, SHARED, waits)
    kvm_mmu_read_unlock(kvm)


@kernel
def zaps_leaves(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], waits: Ptr[u64]) -> None:
    """Of that half the first pass over one root."""
    kvm_mmu_read_lock(kvm, waits)
    rcu_read_lock()
    __tdp_mmu_zap_root(kvm, root, SHARED, PG_LEVEL_4K, waits)
    rcu_read_unlock()
    kvm_mmu_read_unlock(kvm)


@kernel
def invalidates_roots(kvm: Ptr[Kvm]) -> None:
    """The first half."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_tdp_mmu_invalidate_roots(kvm)
    kvm_mmu_unlock(kvm)


def unmap_from_invalid_root(m: Setup) -> None:
    """Up to 6.12 who zaps a dirty leaf says so to the frame, which has to be there still."""
    vm = make_vm(m)
    where = frame(vm)
    m.call(kvm_tdp_mmu_invalidate_roots, vm.kvm)
    m.thread("zapper", (zaps_leaves, vm.kvm, vm.root, m.words(2)))
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (reuse_frame, where),
    )


# -- 68 to 70: yielding (7533377215b6, 3a0f64de479c, a835429cda91) -----------------------------


@kernel
def unmaps_from_first_root(kvm: Ptr[Kvm]) -> None:
    """Of ``kvm_tdp_mmu_unmap_gfn_range`` what concerns one root."""
    waits = addr(kvm.stat.lock_waits)
    kvm_mmu_lock(kvm, waits)
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 0)
    if root != NULL:
        tdp_mmu_zap_leafs(kvm, root, 0, 4, 0, waits)
        if ROOT_REFERENCED:
            kvm_tdp_mmu_put_root(kvm, root)
    kvm_mmu_unlock(kvm)


@kernel
def drops_root(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], waits: Ptr[u64]) -> None:
    """A vCPU puts its root."""
    kvm_mmu_read_lock(kvm, waits)
    kvm_tdp_mmu_put_root(kvm, vcpu.arch.root)
    kvm_mmu_read_unlock(kvm)


def yield_and_drop(m: Setup) -> None:
    """A vCPU puts the last reference of an invalid root while the host unmaps from it."""
    vm = make_vm(m)
    waits = m.words(2)
    m.call(invalidates_roots, vm.kvm)
    m.call(zaps_invalid_roots, vm.kvm, waits)
    m.thread("host", (unmaps_from_first_root, vm.kvm))
    m.thread("vcpu", (drops_root, vm.kvm, vm.vcpu, waits))


def yield_in_a_range(m: Setup) -> None:
    """All four pages are mapped and have to go; the walk yields at each."""
    vm = make_vm(m)
    for gfn in range(4):
        vm.map(gfn)
        vm.watch(gfn)
    m.thread("host", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 4))
    m.never(
        "page-skipped",
        lambda end: any(end[f"pte{gfn}"] & PRESENT for gfn in range(4)),
        "A page is mapped that was to be unmapped.",
    )


def _guest_and_reuse(m: Setup, vm: Vm, where: int, *before: tuple[object, ...]) -> None:
    """A guest whose TLB knows page 0, and a host that takes the frame."""
    m.call(mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 0)
    m.poke(vm.kvm + STOP, 1)  # a guest that has to reload its root ends
    m.thread("guest", (guest_reads, vm.kvm, vm.vcpu, 0))
    m.thread(
        "host",
        *before,  # type: ignore[arg-type]  # each is a call
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 4),
        (reuse_frame, where),
    )


def yield_and_flush(m: Setup) -> None:
    vm = make_vm(m)
    _guest_and_reuse(m, vm, frame(vm, value=7))


# -- 71: the range of a flush (574c3c55e969) ---------------------------------------------------


def flush_of_a_table(m: Setup) -> None:
    """A fault at page 1 puts a large leaf where page 0 had its own."""
    vm = make_vm(m)
    vm.map(0)
    m.call(mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 0)
    vm.large()
    tlb = m.peek(vm.vcpu + GenericVcpu.offset("tlb"))
    m.watch("tag", tlb + TlbEntry.offset("tag"))
    m.watch("data", tlb + TlbEntry.offset("data"))
    m.watch("request", vm.vcpu + GenericVcpu.offset("request"))
    other = vm.new_vcpu("other")
    m.thread("fault", (maps, vm.kvm, other, 1, LARGE_PFN + 1, 0, 1))
    m.thread("guest", (guest_walks_again, vm.kvm, vm.vcpu))

    def stale(end: End) -> bool:
        old = end["tag"] == 1 and end["data"] >> 1 == FIRST_PFN
        return old and not end["request"] and end.result("fault") == 1

    m.never(
        "stale-translation",
        stale,
        "What the table said of page 0 is still in the TLB, and nobody asked to flush it.",
    )


@kernel
def guest_walks_again(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> None:
    """Enter the guest, which does nothing, and leave."""
    if not kvm_vcpu_load(kvm, vcpu):
        kvm_vcpu_put(vcpu)


# -- 72: a root that was made invalid (a955cad84cda) -------------------------------------------


def fault_and_zap_all(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(1)
    vm.watch(0)
    m.thread("fault", vm.maps(0, FIRST_PFN))
    m.thread("host", (invalidates_roots, vm.kvm), (zaps_leaves, vm.kvm, vm.root, m.words(2)))
    m.never(
        "mapped-after-zap",
        lambda end: end["pte0"] != NP,
        "An invalid root that was zapped maps something.",
    )


# -- 82: no flush for invalid roots ------------------------------------------------------------


def invalidate_then_unmap(m: Setup) -> None:
    vm = make_vm(m)
    where = frame(vm, value=7)
    _guest_and_reuse(m, vm, where, (invalidates_roots, vm.kvm))


@kernel
def no_root(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Stands for ``kvm_mmu_reload``: the vCPU stays out."""
    return 1


ALL_ROOTS = Scenario(
    "tdp-unmap-vs-zap-of-invalid-root", unmap_from_invalid_root, OLD,
    stand_ins={"kvm_set_pfn_dirty": note_dirty},
)  # fmt: skip
YIELD_ROOT = Scenario("tdp-yield-vs-last-reference", yield_and_drop, YIELDS)
YIELD_STEP = Scenario("tdp-yield-in-a-range", yield_in_a_range, YIELDS)
YIELD_FLUSH = Scenario("tdp-yield-vs-guest", yield_and_flush, YIELDS, stand_ins=GIVES_UP)
FLUSH_RANGE = Scenario("tdp-flush-of-a-table", flush_of_a_table, AD)
OBSOLETE = Scenario("tdp-fault-vs-zap-all", fault_and_zap_all, AD)
NO_FLUSH = Scenario(
    "tdp-unmap-of-invalid-root-vs-guest", invalidate_then_unmap, AD,
    stand_ins={**GIVES_UP, "kvm_mmu_reload": no_root},
)  # fmt: skip
TDP = "arch/x86/kvm/mmu/tdp_mmu.c"


def _was(label: str, scenario: Scenario, *edits: Edit, heavy: bool = False) -> Case:
    return Case(label, scenario, edits, decides=False, heavy=heavy)


CLAIMS = [
    Claim(
        "67-unmap-from-all-roots",
        "Once the host's pages are unmapped, nobody touches their frames, who zaps an invalid "
        "root included.",
        "commit d62007edf01f (zap _all_ roots when unmapping gfn range in TDP MMU)",
        (
            Case("as written", ALL_ROOTS),
            _was(
                "valid roots alone, as before the fix",
                ALL_ROOTS,
                Set("UNMAP_VALID_ROOTS_ONLY", 1),
            ),
        ),
    ),
    Claim(
        "68-yield-with-a-reference",
        "A walk that yields finds its root where it was.",
        "commit 7533377215b6 (use a yield-safe root iterator)",
        (
            Case("as written", YIELD_ROOT),
            _was(
                "without a reference, as before the fix", YIELD_ROOT, Set("ROOT_REFERENCED", 0)
            ),
        ),
    ),
    Claim(
        "69-yield-skips-no-page",
        "A walk that yields skips no page.",
        "commit 3a0f64de479c (don't advance iterator after restart due to yielding)",
        (
            Case("as written", YIELD_STEP),
            _was(
                "goes on behind it, as before the fix",
                YIELD_STEP,
                Set("SAME_PAGE_AFTER_YIELD", 0),
            ),
        ),
    ),
    Claim(
        "70-yield-after-the-flush",
        "A walk that yields flushes first: no vCPU reaches a frame that was unmapped before.",
        "commit a835429cda91 (flush TLB when yielding)",
        (
            Case("as written", YIELD_FLUSH),
            _was(
                "the flush forgotten, as before the fix",
                YIELD_FLUSH,
                Set("FLUSH_BEFORE_YIELD", 0),
            ),
        ),
    ),
    Claim(
        "71-flush-all-of-an-entry",
        "Where a leaf takes a table's place, all that the table said is flushed.",
        "commit 574c3c55e969 (fix TLB flush range when handling disconnected pt)",
        (
            Case("as written", FLUSH_RANGE),
            _was(
                "from the fault's page on, as before the fix",
                FLUSH_RANGE,
                Set("FLUSH_WHOLE_ENTRY", 0),
            ),
        ),
    ),
    Claim(
        "72-obsolete-root",
        "No fault maps into a root that was made invalid.",
        "commit a955cad84cda (retry page fault if root is invalidated by memslot update)",
        (
            Case("as written", OBSOLETE),
            _was("no check, as before the fix", OBSOLETE, Set("CHECK_OBSOLETE_ROOT", 0)),
        ),
    ),
    Claim(
        "82-invalid-roots-need-no-flush",
        "Unmapping from an invalid root needs no flush, as the vCPUs have left it by then.",
        f"{TDP} (tdp_mmu_zap_leafs, since 6.13)",
        (
            Case("as written", NO_FLUSH),
            _was("vCPUs are told, and not waited for", NO_FLUSH, Set("RELOAD_WAITS", 0)),
        ),
    ),
]
