"""Aging without the lock against everything that writes entries: claims 128, 129, 134, 135."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Setup, Skip, Swap
from mkold.claims.arm64.small_vm import AF, PFN_SHIFT, SMALL, STORE, V3, VALID, Vm, W, make_vm
from mkold.kvm.arm64.asm.kvm_host import Kvm, KvmMmuMemoryCache, Vcpu
from mkold.kvm.arm64.dirty import kvm_mmu_split_huge_pages
from mkold.kvm.arm64.hw import mmu_walk_s2
from mkold.kvm.arm64.mmu import handle_access_fault
from mkold.kvm.arm64.pgtable.attr import (
    kvm_pgtable_stage2_relax_perms,
    kvm_pgtable_stage2_wrprotect,
)
from mkold.kvm.arm64.pgtable.pte import S2AP_W
from mkold.kvm.arm64.pgtable.tables import kvm_mmu_topup_memory_cache
from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.lang import Ptr, addr, kernel, u64

V2_5 = "Zhao and Upton on v2 05/10, lore 20230526234435.662652-6-yuzhao@google.com"
UPTON = (
    "Upton: all walkers that hold the lock for writing must then tolerate races; the sentences "
    "that follow from it are inferred from the source, not his"
)
ATTR = "arch/arm64/kvm/hyp/pgtable.c (stage2_attr_walker)"


def one_page(m: Setup, *, young: bool = True, write: bool = True) -> Vm:
    """Page 0 is mapped and watched; page 1 keeps its table."""
    vm = make_vm(m)
    vm.map(1)
    vm.map(0, write=write)
    if not young:
        vm.clear(0, AF)
    vm.watch(0)
    return vm


def hardware(m: Setup, vm: Vm, write: int = 0) -> None:
    """A vCPU touches page 0."""
    m.thread("hardware", (mmu_walk_s2, vm.kvm, vm.vcpu("vcpu", stock=0), 0, write))


@kernel
def protect(kvm: Ptr[Kvm]) -> None:
    """Write protection of page 0, for the dirty log."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_pgtable_stage2_wrprotect(kvm, 0, 1)
    kvm_mmu_unlock(kvm)


def never_missed(m: Setup) -> None:
    m.never(
        "young-missed",
        lambda end: not end.result("ager", -1, 1),
        "The page was young from the start, and the pass does not say so.",
    )


# -- claims 128 and 129: clearing by compare-and-swap ----------------------------------------


def age_hardware(m: Setup) -> None:
    vm = one_page(m)
    m.thread("ager", vm.age())
    hardware(m, vm, 1)
    never_missed(m)


def age_two(m: Setup) -> None:
    vm = one_page(m)
    m.thread("ager", vm.age())
    m.thread("other", vm.age())
    m.never(
        "young-missed",
        lambda end: not end.result("ager", -1, 1) and not end.result("other", -1, 1),
        "The page was young from the start, and neither pass says so.",
    )


def age_unmap(m: Setup) -> None:
    vm = one_page(m)
    m.thread("ager", vm.age())
    m.thread("host", vm.unmap())
    m.never(
        "brought-back", lambda end: end["pte0"] != 0, "An unmapped entry is something again."
    )


def age_remap(m: Setup) -> None:
    """The host takes the frame away, a fault maps another."""
    vm = one_page(m)
    vcpu = vm.vcpu("vcpu", stock=0)
    m.thread("ager", vm.age())
    m.thread("host", vm.unmap(), vm.unmap_end(), vm.maps(vcpu, 0, pfn=0x77))
    m.never(
        "stale-frame",
        lambda end: end["pte0"] >> PFN_SHIFT != 0x77 or not end["pte0"] & VALID,
        "The entry does not map the frame that the fault found.",
    )


def age_split(m: Setup) -> None:
    """A block of pages 0 and 1 is split eagerly, for the dirty log."""
    vm = make_vm(m)
    vm.map(0, pages=2, pfn=0x60)
    assert not m.call(kvm_mmu_topup_memory_cache, vm.kvm, vm.kvm + STORE, 6)
    objects = vm.kvm + STORE + KvmMmuMemoryCache.offset("objects")
    table = m.peek(objects + 5)
    m.watch("root0", vm.root())
    m.watch("page1", table + 1)
    m.thread("ager", vm.age())
    m.thread("log", (kvm_mmu_split_huge_pages, vm.kvm, 0, 2))
    m.never(
        "not-split",
        lambda end: (
            end["root0"] >> PFN_SHIFT != table or end["page1"] >> PFN_SHIFT & 0xFF != 0x61
        ),
        "The block is not the table that was made of it.",
    )


def age_beside_locked(m: Setup) -> None:
    """A pass with mmu_lock for writing, which stores plainly, beside one without."""
    vm = one_page(m)
    m.thread("ager", vm.age())
    m.thread("other", vm.age_locked())
    before = m.peek(vm.entry(0)) & ~AF
    m.never(
        "other-bits",
        lambda end: end["pte0"] != before,
        "Two passes do not leave the entry as it was, without its accessed bit.",
    )
    m.never(
        "young-missed",
        lambda end: not end.result("ager", -1, 1) and not end.result("other"),
        "The page was young from the start, and neither pass says so.",
    )


HARDWARE = Scenario("age-vs-hardware", age_hardware, SMALL)
TWO = Scenario("two-passes", age_two, SMALL)
UNMAP = Scenario("age-vs-unmap", age_unmap, SMALL)
SPLIT = Scenario("age-vs-split", age_split, SMALL)
BESIDE = Scenario("lockless-and-locked-pass", age_beside_locked, SMALL)
REMAP = Scenario("age-vs-unmap-and-fault", age_remap, SMALL)
BY_EXCHANGE = (Swap("stage2_try_set_pte:cmpxchg", "xchg"),)
BY_STORE = (Swap("stage2_try_set_pte:cmpxchg", "WRITE_ONCE"),)

# -- claim 134: an access between two passes; claim 135: access flag faults ------------------


@kernel
def access_flag_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """An access that the hardware gives up on, what follows, and the access again."""
    ok, _pfn = mmu_walk_s2(kvm, vcpu, gfn, 0)
    if not ok:
        handle_access_fault(kvm, vcpu, gfn)
        ok, _pfn = mmu_walk_s2(kvm, vcpu, gfn, 0)
    return ok


def never_unseen(m: Setup, thread: str) -> None:
    def unseen(end: End) -> bool:
        reported = end.result("ager", 0, 1) or end.result("ager", 1, 1)
        return end.result(thread) == 1 and not reported and not end["pte0"] & AF

    m.never(
        "access-lost",
        unseen,
        "The guest touched the page; no pass reported it, and the next one will not either.",
    )


def access_between(m: Setup) -> None:
    vm = one_page(m, young=False)
    m.thread("ager", vm.age(), vm.age())
    hardware(m, vm)
    never_unseen(m, "hardware")


def access_between_and_protect(m: Setup) -> None:
    vm = one_page(m, young=False)
    m.thread("ager", vm.age(), vm.age())
    hardware(m, vm)
    m.thread("log", (protect, vm.kvm))
    never_unseen(m, "hardware")


def fault_between(m: Setup) -> None:
    vm = one_page(m, young=False)
    m.thread("ager", vm.age(), vm.age())
    m.thread("guest", (access_flag_fault, vm.kvm, vm.vcpu("vcpu", stock=0), 0))
    never_unseen(m, "guest")
    _never_other_bits(m, vm)


def _never_other_bits(m: Setup, vm: Vm) -> None:
    before = m.peek(vm.entry(0)) & ~AF
    m.never(
        "other-bits",
        lambda end: end["pte0"] & ~AF != before,
        "Aging or an access flag fault changes more of an entry than its accessed bit.",
    )


def fault_beside_hardware(m: Setup) -> None:
    """One vCPU faults where another sets the bit by itself."""
    vm = one_page(m, young=False)
    m.thread("ager", vm.age())
    hardware(m, vm)  # vCPU 0
    m.thread("guest", (access_flag_fault, vm.kvm, vm.vcpu("odd", stock=0), 0))
    _never_other_bits(m, vm)

    def unseen(end: End) -> bool:
        touched = end.result("guest") == 1 or end.result("hardware") == 1
        return touched and not end.result("ager", -1, 1) and not end["pte0"] & AF

    m.never("access-lost", unseen, "A guest touched the page, and nobody will ever say so.")


def fault_and_unmap(m: Setup) -> None:
    """An access flag fault on the last page of a table, which the host takes away."""
    vm = make_vm(m)
    vm.map(0)
    vm.map(2)
    vm.clear(0, AF)
    m.thread("guest", (handle_access_fault, vm.kvm, vm.vcpu("vcpu", stock=0), 0))
    m.thread("host", vm.unmap())


@kernel
def permission_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """A write fault on page 0, which may be written."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    ret = kvm_pgtable_stage2_relax_perms(kvm, vcpu, 0, S2AP_W)
    kvm_mmu_read_unlock(kvm)
    return ret


def age_relax(m: Setup) -> None:
    vm = one_page(m, write=False)
    m.thread("ager", vm.age())
    m.thread("fault", (permission_fault, vm.kvm, vm.vcpu("vcpu", stock=0)))
    never_missed(m)
    m.never(
        "permission-lost",
        lambda end: end.result("fault") == 0 and not end["pte0"] & W,
        "The fault allowed the write, and the entry does not.",
    )


BETWEEN = Scenario("access-between-passes", access_between, SMALL)
BETWEEN_PROTECT = Scenario("access-between-passes-and-log", access_between_and_protect, SMALL)
SOFTWARE = {**SMALL, "STAGE2_HW_AF": 0}
MIXED = {**SMALL, "STAGE2_HW_AF": 2}
FAULT_BETWEEN = Scenario("access-flag-fault-between-passes", fault_between, SOFTWARE)
BOTH_KINDS = Scenario("both-kinds-of-access-flags", fault_beside_hardware, MIXED)
FAULT_UNMAP = Scenario("access-flag-fault-vs-unmap", fault_and_unmap, {**SMALL, **V3})
NO_READ_LOCK = (Skip("kvm_mmu_read_lock"), Skip("kvm_mmu_read_unlock"))
RELAX = Scenario("age-vs-relaxed-permissions", age_relax, SMALL)

CLAIMS = [
    Claim(
        "128-failed-cmpxchg-needs-no-retry",
        "A compare-and-swap of the pass that fails needs no second try: the page was young, "
        "and is reported.",
        V2_5,
        (
            Case("against the hardware", HARDWARE),
            Case("against another pass", TWO),
            Case("against permissions relaxed by a fault", RELAX),
            Case("an exchange, against permissions", RELAX, BY_EXCHANGE, decides=False),
        ),
    ),
    Claim(
        "129-unmapped-stays-unmapped",
        "Under RCU alone no entry that is unmapped (by a plain store, with the lock for "
        "writing) comes back, none maps a frame that was taken away, and no split is undone.",
        f"{V2_5}; {UPTON}",
        (
            Case("against unmap", UNMAP),
            Case("against unmap and fault", REMAP),
            Case("against split", SPLIT),
            Case("against a pass with the lock", BESIDE),
            Case("an exchange, against split", SPLIT, BY_EXCHANGE, decides=False),
            Case("an exchange, against unmap", UNMAP, BY_EXCHANGE, decides=False),
            Case("a store, against unmap", UNMAP, BY_STORE, decides=False),
            Case("a store, against unmap and fault", REMAP, BY_STORE, decides=False),
        ),
    ),
    Claim(
        "134-seen-now-or-next",
        "An access is seen by this pass or the next, where the hardware sets the bit.",
        V2_5,
        (
            Case("access between two passes", BETWEEN),
            Case("and write protection", BETWEEN_PROTECT, decides=False),
        ),
    ),
    Claim(
        "135-access-flag-faults",
        "The second version's pass is safe too where software sets the accessed bit, and where "
        "both kinds of CPUs run one VM: its gate asks for more than safety needs.",
        f"{V2_5} (the gate); HA is set on every CPU and has no effect where it is not there",
        (
            Case("a fault between two passes", FAULT_BETWEEN),
            Case("both kinds", BOTH_KINDS),
            Case("a fault against unmap", FAULT_UNMAP),
            Case(
                "a fault without mmu_lock, against unmap",
                FAULT_UNMAP,
                NO_READ_LOCK,
                decides=False,
            ),
        ),
    ),
]
