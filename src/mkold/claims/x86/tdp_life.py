"""When memory may be used again, and what two writers do to each other: claims 79 to 81, 84."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, Scenario, Set, Setup, Skip
from mkold.claims.x86.small_tdp import (
    AD,
    EXIT_QUALIFICATION,
    FIRST_PFN,
    HVA,
    LARGE,
    NOAD,
    PRESENT,
    WRITE,
    Vm,
    make_vm,
    pfn_of,
)
from mkold.claims.x86.tdp_protect import starts_to_log
from mkold.claims.x86.tdp_roots import drops_root, invalidates_roots, zaps_invalid_roots
from mkold.ir.variant import Edit
from mkold.kvm.mmu_lock import (
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
)
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_end,
    kvm_mmu_notifier_invalidate_range_start,
)
from mkold.kvm.types import Kvm as GenericKvm
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.fault import kvm_tdp_page_fault
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.mmu.spte import PG_LEVEL_2M
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault
from mkold.kvm.x86.tdp.huge import kvm_tdp_mmu_recover_huge_pages, recover_huge_page
from mkold.kvm.x86.tdp.pages import FREE_AT_ONCE
from mkold.kvm.x86.tdp.zap import (
    kvm_mmu_zap_all_fast,
)
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mm_types import PFN_ERR_RETRY, Mm

NEW_PFN, LARGE_PFN = 0x77, 0x60


# -- 79, 80: no table is touched after it is free ----------------------------------------------


def _one_table(m: Setup) -> Vm:
    """Page 0 is mapped by a table, and the host has large pages now."""
    vm = make_vm(m)
    vm.map(0)
    vm.large()
    return vm


def age_and_replace(m: Setup) -> None:
    vm = _one_table(m)
    m.thread("fault", vm.maps(1, LARGE_PFN + 1))
    m.thread("ager", vm.age())


def fast_fault_and_replace(m: Setup) -> None:
    vm = _one_table(m)
    vm.change(0, clear=WRITE)
    other = vm.new_vcpu("other")
    m.poke(other + EXIT_QUALIFICATION, 1)
    m.thread("fault", vm.maps(1, LARGE_PFN + 1))
    m.thread("fast", (fast_page_fault, other, vm.slot, 0, 1))


def age_and_free_root(m: Setup) -> None:
    """The root is invalid, zapped, and loses its last reference."""
    vm = make_vm(m)
    waits = m.words(2)
    m.call(invalidates_roots, vm.kvm)
    m.call(zaps_invalid_roots, vm.kvm, waits)
    m.thread("vcpu", (drops_root, vm.kvm, vm.vcpu, waits))
    m.thread("ager", vm.age())


def age_and_zap_all(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    m.thread("host", (kvm_mmu_zap_all_fast, vm.kvm, m.words(2)))
    m.thread("ager", vm.age())


@kernel
def guest_reads_by_walk(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, let the hardware translate one access, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = mmu_walk_tdp(kvm, vcpu, gfn, 0)
    kvm_vcpu_put(vcpu)
    return ok


@kernel
def recovers(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Logging has ended: large leaves again."""
    kvm_mmu_read_lock(kvm, waits)
    kvm_tdp_mmu_recover_huge_pages(kvm, addr(kvm.slots[0]), waits)
    kvm_mmu_read_unlock(kvm)


def hardware_and_recover(m: Setup) -> None:
    vm = _one_table(m)
    m.thread("recover", (recovers, vm.kvm, m.words(2)))
    m.thread("guest", (guest_reads_by_walk, vm.kvm, vm.vcpu, 0))


# -- 81: the retry counter ---------------------------------------------------------------------


@kernel
def host_word(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """Stands for ``hva_to_pfn``: the one word that is the host's page table."""
    pfn = READ_ONCE(cast(Ptr[u64], mm).value)
    if pfn == 0:
        return PFN_ERR_RETRY, 0
    return pfn, 1


@kernel
def set_host_word(mm: Ptr[Mm], ptl: Ptr[u64], pfn: u64) -> None:
    """The host maps the page to another frame, under its page-table lock, as it must."""
    spin_lock(ptl.value)
    WRITE_ONCE(cast(Ptr[u64], mm).value, pfn)
    spin_unlock(ptl.value)


def fault_and_invalidate(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(1)  # the table is there, the page is not
    vm.watch(0)
    host = m.words(1, "host_page", value=FIRST_PFN)
    m.poke(vm.kvm + GenericKvm.offset("mm"), host)
    m.thread("fault", (kvm_tdp_page_fault, vm.kvm, vm.vcpu, 0, 1))
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (set_host_word, host, m.words(1, "ptl"), NEW_PFN),
        (kvm_mmu_notifier_invalidate_range_end, vm.kvm, HVA, HVA + 1),
    )
    m.never(
        "stale-mapping",
        lambda end: bool(end["pte0"] & PRESENT) and pfn_of(end["pte0"]) == FIRST_PFN,
        "The guest maps the frame that the host took away.",
    )


# -- 84: recovering and write protection at once -----------------------------------------------


@kernel
def recovers_one(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], waits: Ptr[u64]) -> None:
    """Of ``recovers`` what concerns one entry."""
    kvm_mmu_read_lock(kvm, waits)
    rcu_read_lock()
    recover_huge_page(kvm, addr(kvm.slots[0]), sp_spt(root), 0, PG_LEVEL_2M)
    rcu_read_unlock()
    kvm_mmu_read_unlock(kvm)


@kernel
def left_alone(kvm: Ptr[Kvm], pt: Ptr[u64], shared: u64) -> None:
    """Stands for what becomes of a table that was unlinked."""


def recover_and_protect(m: Setup) -> None:
    vm = _one_table(m)
    vm.watch(0, 2)
    m.thread("recover", (recovers_one, vm.kvm, vm.root, m.words(2)))
    m.thread("protect", (starts_to_log, vm.kvm, vm.root))
    m.never(
        "writable",
        lambda end: bool(end["pmd0"] & LARGE) and bool(end["pmd0"] & WRITE),
        "Every leaf was write-protected, and the large leaf lets write.",
    )


AGE_TABLE = Scenario("tdp-age-vs-large-leaf", age_and_replace, AD)
FAST_TABLE = Scenario("tdp-fast-fault-vs-large-leaf", fast_fault_and_replace, AD)
AGE_ROOT = Scenario("tdp-age-vs-last-reference", age_and_free_root, AD)
AGE_ZAP = Scenario("tdp-age-vs-zap-all", age_and_zap_all, AD)
HARDWARE_TABLE = Scenario("tdp-hardware-vs-recover", hardware_and_recover, AD)
RETRY = Scenario("tdp-fault-vs-invalidate", fault_and_invalidate, AD,
                 stand_ins={"hva_to_pfn": host_word})  # fmt: skip
RECOVER_PROTECT = Scenario(
    "tdp-recover-vs-protect", recover_and_protect, NOAD,
    stand_ins={"handle_removed_pt": left_alone},
)  # fmt: skip

TDP = "arch/x86/kvm/mmu/tdp_mmu.c"
AT_ONCE = (Set("TABLE_FREE", FREE_AT_ONCE),)
NO_READER = (
    Drop("kvm_tdp_mmu_age_lockless:rcu_read_lock"),
    Drop("kvm_tdp_mmu_age_lockless:rcu_read_unlock"),
)


def _was(label: str, scenario: Scenario, *edits: Edit, heavy: bool = False) -> Case:
    return Case(label, scenario, edits, decides=False, heavy=heavy)


CLAIMS = [
    Claim(
        "79-tables-and-roots-freed",
        "The lockless pass and a fast page fault touch no table or root that is free.",
        f"{TDP} (tdp_mmu_free_sp_rcu_callback)",
        (
            Case("ager, a table gives way to a large leaf", AGE_TABLE),
            Case("fast page fault, a table gives way to a large leaf", FAST_TABLE),
            Case("ager, a root loses its last reference", AGE_ROOT),
            _was("ager, all roots are zapped", AGE_ZAP, heavy=True),
            _was("ager, table freed at once", AGE_TABLE, *AT_ONCE),
            _was("fast page fault, table freed at once", FAST_TABLE, *AT_ONCE, heavy=True),
            _was("ager, root freed at once", AGE_ROOT, *AT_ONCE),
            _was("ager without a read section", AGE_TABLE, *NO_READER, heavy=True),
        ),
    ),
    Claim(
        "80-flushed-before-free",
        "The hardware walks no table that is free, since TLBs are flushed before the read "
        "section of whoever took the table down ends.",
        f"{TDP} (recover_huge_pages_range)",
        (
            Case("as written", HARDWARE_TABLE),
            _was("flush behind the read section", HARDWARE_TABLE, Set("FLUSH_BEFORE_FREE", 0)),
            _was(
                "no flush", HARDWARE_TABLE, Skip("kvm_flush_remote_tlbs_unlocked"), heavy=True
            ),
        ),
    ),
    Claim(
        "81-fault-retries",
        "A fault, mapped with mmu_lock held for reading, never maps a frame that an "
        "invalidation took away meanwhile.",
        "virt/kvm/kvm_main.c (mmu_invalidate_retry_gfn), arch/x86/kvm/mmu/mmu.c "
        "(is_page_fault_stale)",
        (
            Case("as written", RETRY),
            _was("no check of the counter", RETRY, Set("CHECK_RETRY", 0)),
            _was(
                "counter read after the frame may be",
                RETRY,
                Drop("kvm_tdp_page_fault:smp_rmb"),
                heavy=True,
            ),
        ),
    ),
    Claim(
        "84-recover-against-protect",
        "Recovering large leaves while leaves are write-protected, both with mmu_lock held "
        "for reading, can lose the protection; slots_lock keeps the two apart.",
        f"inferred from {TDP} (recover_huge_pages_range, wrprot_gfn_range)",
        (Case("both at once", RECOVER_PROTECT),),
        asks="possible",
    ),
]
