"""Faults against invalidations, the dirty log, nested guests: claims 124 and 136 to 139.

The host's memory is one word here: the frame behind the page, or 0.
"""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Set, Setup, Skip, Swap
from mkold.claims.arm64.guest import GIVES_UP
from mkold.claims.arm64.small_vm import AF, PFN_SHIFT, PGD, SMALL, VALID, W, make_vm
from mkold.kvm.arm64.arm import kvm_arch_has_test_clear_young
from mkold.kvm.arm64.asm.kvm_host import ESR_ELx_FSC_FAULT, ESR_ELx_FSC_PERM, Kvm, Vcpu
from mkold.kvm.arm64.dirty import kvm_get_dirty_log_protect
from mkold.kvm.arm64.hw import mmu_walk_s2
from mkold.kvm.arm64.mmu import map_found, user_mem_abort
from mkold.kvm.arm64.pgtable.attr import kvm_pgtable_stage2_wrprotect
from mkold.kvm.arm64.pgtable.pte import kvm_init_valid_leaf_pte
from mkold.kvm.memslots import kvm_memslot_set_level
from mkold.kvm.types import KVM_PFN_ERR, MemorySlot
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, cast, kernel, u64
from mkold.mm.mm_types import PFN_ERR_RETRY, Mm

MMU = "arch/arm64/kvm/mmu.c (user_mem_abort)"
KVM_DOC = "Documentation/virt/kvm/locking.rst and virt/kvm/kvm_main.c"
OLD_PFN, NEW_PFN = 0x60, 0x71
SLOT = Kvm.offset("slots")
FAULT_LEVEL = Vcpu.layout.field("arch.fault_level").offset
FSC = Vcpu.layout.field("arch.fsc").offset

# -- claims 124 and 136: a fault against an invalidation -------------------------------------


@kernel
def host_word(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """Stands for ``hva_to_pfn``: the one word that is the host's page table."""
    pfn = READ_ONCE(cast(Ptr[u64], mm).value)
    if pfn == 0:
        return PFN_ERR_RETRY, 0
    return pfn, 1


@kernel
def host_splits(kvm: Ptr[Kvm], host: Ptr[u64], pfn: u64) -> None:
    """The host's large page is no more: pages of its own, elsewhere."""
    kvm_memslot_set_level(kvm, 0, 0)
    WRITE_ONCE(host.value, pfn)


@kernel
def one_entry_maps(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, level: u64,
    writable: u64,
) -> u64:  # fmt: skip
    """Stands for ``fault_in``: the root's first entry is all there is."""
    WRITE_ONCE(kvm.arch.mmu.pgd.value, kvm_init_valid_leaf_pte(pfn, 0, level))
    return 0


@kernel
def one_entry_unmaps(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Stands for ``kvm_pgtable_stage2_unmap``."""
    WRITE_ONCE(kvm.arch.mmu.pgd.value, 0)
    return 0


def fault_and_split(m: Setup) -> None:
    """The guest faults while the host splits its large page and moves what was in it."""
    vm = make_vm(m)
    m.call(kvm_memslot_set_level, vm.kvm, 0, 1)
    host = m.words(1, "host_page", value=OLD_PFN)
    m.poke(vm.kvm + Kvm.offset("mm"), host)
    vcpu = vm.vcpu("vcpu")
    m.poke(vcpu + FSC, ESR_ELx_FSC_FAULT)
    m.watch("entry", vm.root())
    slot = vm.kvm + SLOT
    m.thread("fault", (user_mem_abort, vm.kvm, vcpu, slot, 0, 0))
    m.thread(
        "host",
        vm.unmap(0, 2),
        (host_splits, vm.kvm, host, NEW_PFN),
        vm.unmap_end(0, 2),
    )
    m.never(
        "stale-size",
        lambda end: end["entry"] & 3 == VALID,
        "A block maps page 1 to where the host has something else.",
    )
    m.never(
        "stale-frame",
        lambda end: bool(end["entry"] & VALID) and end["entry"] >> PFN_SHIFT != NEW_PFN,
        "The guest maps the frame that the host took away.",
    )


FAULT = Scenario(
    "fault-vs-invalidation",
    fault_and_split,
    SMALL,
    stand_ins={
        "hva_to_pfn": host_word,
        "fault_in": one_entry_maps,
        "kvm_pgtable_stage2_unmap": one_entry_unmaps,
    },
)
SIZE = frozenset({"stale-size"})

# -- claim 138: the dirty log ----------------------------------------------------------------


@kernel
def guest_writes(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], frame: Ptr[u64]) -> u64:
    """Enter the guest, write to page 0 if the TLB or the tables allow it, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    if kvm_vcpu_access(kvm, vcpu, 0, 1) >= KVM_PFN_ERR:
        return 0
    WRITE_ONCE(frame.value, 1)
    kvm_vcpu_put(vcpu)
    return 1


@kernel
def fault_and_write(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], pfn: u64, frame: Ptr[u64]
) -> u64:
    """A write fault on a write-protected page, and the write, if the guest gets so far."""
    map_found(kvm, vcpu, slot, 0, 1, pfn, 1, 3, 0)
    return guest_writes(kvm, vcpu, frame)


@kernel
def harvest_and_copy(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64], frame: Ptr[u64]
) -> u64:
    """What live migration does: fetch the dirty log, then copy the page."""
    kvm_get_dirty_log_protect(kvm, slot, log)
    return READ_ONCE(frame.value)


def _harvest(m: Setup, *, faults: bool) -> None:
    """Page 0 is logged; the guest wrote to it, or has to fault first."""
    vm = make_vm(m)
    vm.map(1)
    vm.map(0, write=not faults)
    frame = m.words(1, "frame")
    slot, log = vm.kvm + SLOT, m.words(1, "log")
    bitmap = m.words(1, "dirty_bitmap", value=int(not faults))
    m.poke(slot + MemorySlot.offset("npages"), 1)
    m.poke(slot + MemorySlot.offset("dirty_bitmap"), bitmap)
    vcpu = vm.vcpu("vcpu", stock=0)
    m.watch("frame", frame)
    m.watch("dirty", bitmap)
    if faults:
        m.poke(vcpu + FSC, ESR_ELx_FSC_PERM)
        m.poke(vcpu + FAULT_LEVEL, 3)
        m.thread("guest", (fault_and_write, vm.kvm, vcpu, slot, 0x50, frame))
    else:
        m.call(mmu_walk_s2, vm.kvm, vcpu, 0, 1)  # the TLB allows it
        m.thread("guest", (guest_writes, vm.kvm, vcpu, frame))
    m.thread("migration", (harvest_and_copy, vm.kvm, slot, log, frame))

    def lost(end: End) -> bool:
        old_copy = end["frame"] == 1 and end.result("migration") == 0
        return old_copy and not end["dirty"] & 1

    m.never("write-not-migrated", lost, "The guest wrote after the copy; no log says so.")


def writes_and_harvest(m: Setup) -> None:
    _harvest(m, faults=False)


def faults_and_harvest(m: Setup) -> None:
    _harvest(m, faults=True)


@kernel
def wrprotect_page(kvm: Ptr[Kvm], first: u64, mask: u64) -> None:
    """Stands for ``wrprotect_logged`` where the slot has one page."""
    if mask & 1:
        kvm_pgtable_stage2_wrprotect(kvm, first, first + 1)


LOGGED = {"wrprotect_logged": wrprotect_page, **GIVES_UP}
WRITES = Scenario("write-vs-harvest", writes_and_harvest, SMALL, stand_ins=LOGGED)
FAULTS = Scenario("write-fault-vs-harvest", faults_and_harvest, SMALL, stand_ins=LOGGED)
NO_FLUSH = (Skip("kvm_tlb_flush_vmid_range"),)
NOT_PROTECTED = (Skip("kvm_pgtable_stage2_wrprotect"),)
NOT_MARKED = (Skip("mark_page_dirty_in_slot"),)

# -- claim 139: guests of the guest ----------------------------------------------------------

NESTED_PGD = Vcpu.layout.field("arch.nested_pgd").offset


def l2_access(m: Setup) -> None:
    """A vCPU runs an L2 guest: its accesses are in the shadow stage 2."""
    vm = make_vm(m)
    vm.map(0)
    own = vm.root()
    shadow = m.words(2, "shadow")
    m.poke(shadow, m.call(kvm_init_valid_leaf_pte, 0x50, AF | W | 1 << 6, 2) & ~AF)
    vm.clear(0, AF)
    vcpu = vm.vcpu("vcpu", stock=0)
    m.poke(vcpu + NESTED_PGD, shadow)
    assert m.peek(vm.kvm + PGD) == own
    m.watch("shadow0", shadow)
    vm.watch(0)
    m.thread("l2", (mmu_walk_s2, vm.kvm, vcpu, 0, 0))
    m.thread("ager", vm.age())
    m.never(
        "l2-access-missed",
        lambda end: not end.result("ager", -1, 1) and not end["pte0"] & AF,
        "L2 used the page, and neither this pass nor the next one says so.",
    )


NESTED = Scenario("l2-access-vs-age", l2_access, SMALL)


def ask_gate(m: Setup) -> None:
    vm = make_vm(m)
    m.thread("gate", (kvm_arch_has_test_clear_young,))
    m.never(
        "opens",
        lambda end: bool(end.result("gate")),
        "The fast path is offered where it can't be.",
    )
    assert vm.kvm


GATE = Scenario("gate", ask_gate, SMALL)
OPENS = frozenset({"opens"})

CLAIMS = [
    Claim(
        "124-size-after-the-counter",
        "A fault never maps a block where the host has small pages by now.",
        'commit 13ec9308a857 ("KVM: arm64: Retry fault if vma_lookup() ...")',
        (
            Case("as written", FAULT, only=SIZE),
            Case(
                "the counter is read when the size is known",
                FAULT,
                (Set("SEQ_AFTER_SIZE", 1),),
                only=SIZE,
                decides=False,
            ),
        ),
    ),
    Claim(
        "136-retry-under-read-lock",
        "A fault, with mmu_lock for reading, never maps a frame that an invalidation took away "
        "while the fault was on its way.",
        f"{KVM_DOC}; {MMU}",
        (
            Case("as written", FAULT),
            Case("no check of the counter", FAULT, (Set("CHECK_RETRY", 0),), decides=False),
            Case(
                "counter read after the frame may be",
                FAULT,
                (Drop("user_mem_abort:smp_rmb"),),
                decides=False,
            ),
            Case(
                "counter read by a plain load",
                FAULT,
                (Swap("user_mem_abort:READ_ONCE[1]", "load"),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "137-gate",
        "The second version's fast path is offered where the hardware sets the accessed bit "
        "and the tables are the host's; not without, not where CPUs differ, not under pKVM.",
        "lore 20230526234435.662652-6-yuzhao@google.com (the gate)",
        (
            Case("software sets it", GATE, (Set("STAGE2_HW_AF", 0),)),
            Case("CPUs of both kinds", GATE, (Set("STAGE2_HW_AF", 2),)),
            Case("pKVM", GATE, (Set("IS_PROTECTED_KVM", 1),)),
            Case("pKVM, third version", GATE, (Set("IS_PROTECTED_KVM", 1), Set("AGE_MODE", 1))),
            Case("upstream", GATE, (Set("AGE_MODE", 2),)),
            Case("hardware sets it", GATE, decides=False),
            Case(
                "third version, software sets it",
                GATE,
                (Set("STAGE2_HW_AF", 0), Set("AGE_MODE", 1)),
                decides=False,
            ),
        ),
    ),
    Claim(
        "138-dirty-log",
        "A write of the guest is in the log that is fetched, in the copy that is made after "
        "it, or in the next log.",
        "arch/arm64/kvm/mmu.c (kvm_arch_mmu_enable_log_dirty_pt_masked)",
        (
            Case("a page that the TLB lets be written", WRITES),
            Case("a write fault", FAULTS),
            Case("not protected again", WRITES, NOT_PROTECTED, decides=False),
            Case("no flush", WRITES, NO_FLUSH, decides=False),
            Case("the fault's page is not marked", FAULTS, NOT_MARKED, decides=False),
        ),
    ),
    Claim(
        "139-nested-guests-are-not-aged",
        "aarch64 doesn't support nested yet (so nothing is lost by not looking at nested "
        "guests).",
        "Zhao in the review of v2; today nested stage-2 MMUs exist and are not aged "
        "(arch/arm64/kvm/mmu.c, a TODO)",
        (Case("a vCPU runs a guest of the guest", NESTED),),
    ),
]
