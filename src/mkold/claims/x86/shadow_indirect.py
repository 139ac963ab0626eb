"""Tables that follow a guest's own; a guest's entry that changed unseen: claims 99 and 103."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Set, Setup
from mkold.claims.x86.shadow_chains import MMU
from mkold.claims.x86.shadow_vm import (
    AD,
    FIRST_PFN,
    N_PAGES,
    ROLE_DIRECT,
    ROLE_INDIRECT,
    SMALL,
    Vm,
    make_vm,
    zap_table,
)
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.mmu.spte import ROOT_LEVEL
from mkold.kvm.x86.shadow.fault import mmu_topup_indirect_cache
from mkold.kvm.x86.shadow.fetch import shadow_fetch
from mkold.kvm.x86.shadow.pages import kvm_mmu_get_shadow_page
from mkold.lang import Ptr, addr, cast, kernel, u64


@kernel
def fetch(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], root: Ptr[KvmMmuPage],
    child_gfn: u64, child_role: u64, gfn: u64, pfn: u64,
) -> None:  # fmt: skip
    """A fault that maps ``gfn`` by the first entry of the table below the first of ``root``."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    shadow_fetch(kvm, vcpu, slot, root, 0, child_gfn, child_role, 0, gfn, pfn)
    kvm_mmu_unlock(kvm)


@kernel
def indirect_root(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """A root that follows the guest's own root table, in page ``gfn``."""
    return cast(u64, kvm_mmu_get_shadow_page(kvm, vcpu, gfn, ROOT_LEVEL, ROLE_INDIRECT))


def _entry_changes(m: Setup, first: tuple[int, int], then: tuple[int, int]) -> Vm:
    """The guest's entry led to ``first`` (page, role), whose first page was used. It leads to
    ``then`` now: page 2 is used by it, and the old table goes. An ager looks at page 2."""
    vm = make_vm(m)
    assert not m.call(mmu_topup_indirect_cache, vm.kvm, vm.vcpu)
    root = m.call(indirect_root, vm.kvm, vm.vcpu, N_PAGES)

    def call(lead: tuple[int, int], gfn: int) -> tuple:  # type: ignore[type-arg]  # a call
        return (fetch, vm.kvm, vm.vcpu, vm.slot, root, *lead, gfn, FIRST_PFN + gfn)

    m.call(*call(first, 0))
    vm.stock()
    assert not m.call(mmu_topup_indirect_cache, vm.kvm, vm.vcpu)
    sptep = m.peek(vm.rmap(0)) >> 2
    m.name("old[0]", sptep)
    m.thread("host", call(then, 2), (zap_table, vm.kvm, sptep - KvmMmuPage.size))
    m.thread("ager", vm.age(2, 3))
    return vm


def other_large_page(m: Setup) -> None:
    """It led to the large page of 0 and 1, and leads to that of 2 and 3."""
    _entry_changes(m, (0, ROLE_DIRECT), (2, ROLE_DIRECT))


def table_for_large_page(m: Setup) -> None:
    """It led to the large page of 0 and 1, and leads to a table in page 0."""
    _entry_changes(m, (0, ROLE_DIRECT), (0, ROLE_INDIRECT))


LARGE = Scenario("guest-entry-leads-to-other-page", other_large_page, SMALL | AD)
TABLE = Scenario("guest-entry-leads-to-table", table_for_large_page, SMALL | AD)
WARNED = Set("CONFIG_BUG_ON_DATA_CORRUPTION", 0)
FREED = frozenset({"use-after-free"})
NO_CHECK, GFN_CHECK = Set("CHILD_CHECK", 0), Set("CHILD_CHECK", 1)

CLAIMS = [
    Claim(
        "99-child-of-that-gfn",
        "A table below an entry is taken for the one that a fault wants only if its gfn is the "
        "one wanted; else an SPTE is listed under one page and removed under another.",
        f"{MMU} (kvm_mmu_get_child_sp), 0cb2af2ea66a",
        (
            Case("as fixed", LARGE),
            Case("before, a BUG", LARGE, (NO_CHECK,), decides=False, heavy=True),
            Case(
                "before, a warning",
                LARGE,
                (NO_CHECK, WARNED),
                decides=False,
                heavy=True,
                only=FREED,
            ),
        ),
    ),
    Claim(
        "103-child-of-that-role",
        "And only if its role is the one wanted.",
        f"{MMU} (kvm_mmu_get_child_sp), 81ccda30b4e8",
        (
            Case("as fixed", TABLE),
            Case(
                "the gfn alone looked at, a BUG", TABLE, (GFN_CHECK,), decides=False, heavy=True
            ),
            Case(
                "the gfn alone looked at, a warning",
                TABLE,
                (GFN_CHECK, WARNED),
                decides=False,
                heavy=True,
                only=FREED,
            ),
            Case(
                "the gfn alone looked at, another page",
                LARGE,
                (GFN_CHECK,),
                decides=False,
                heavy=True,
            ),
        ),
    ),
]
