"""What lets the lockless ager begin, and how far it goes: claims 97 and 102."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Set, Setup, Swap
from mkold.claims.x86.shadow_chains import MMU
from mkold.claims.x86.shadow_vm import (
    ACCESSED,
    AD,
    N_PAGES,
    PRESENT,
    SMALL,
    make_vm,
)
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.shadow.age import kvm_may_have_shadow_mmu_sptes, kvm_rmap_age_gfn_range
from mkold.kvm.x86.shadow.memslot_rmap import mmu_first_shadow_root_alloc
from mkold.kvm.x86.shadow.pages import account_shadowed
from mkold.kvm.x86.shadow.rmap_zap import rmap_add
from mkold.lang import Ptr, addr, kernel, u64

# -- claim 97: the gate -----------------------------------------------------------------------


@kernel
def age_if_shadowed(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> u64:
    """What the notifier does where a TDP MMU maps the guest (``kvm_age_gfn``)."""
    if not kvm_may_have_shadow_mmu_sptes(kvm):
        return 0
    return kvm_rmap_age_gfn_range(slot, 0, 1, 1)


@kernel
def first_shadow_page(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], sp: Ptr[KvmMmuPage]
) -> u64:
    """The guest begins to run a guest of its own: slots get their words, then a table follows
    one of the guest's own, and maps page 0."""
    if mmu_first_shadow_root_alloc(kvm):
        return 1
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    account_shadowed(kvm, sp)
    rmap_add(vcpu, slot, sp_spt(sp), 0, PG_LEVEL_4K)
    kvm_mmu_unlock(kvm)
    return 0


def age_and_begin(m: Setup) -> None:
    """The table, with its SPTE, is there already; it follows a page in no slot."""
    vm = make_vm(m)
    sp = m.words(KvmMmuPage.size + 2, "sp")
    m.poke(sp + KvmMmuPage.offset("gfn"), N_PAGES)
    m.poke(sp + KvmMmuPage.size, PRESENT | ACCESSED)
    m.thread("ager", (age_if_shadowed, vm.kvm, vm.slot))
    m.thread("vcpu", (first_shadow_page, vm.kvm, vm.vcpu, vm.slot, sp))


BEGIN = Scenario("age-vs-first-shadow-page", age_and_begin, SMALL | AD | {"TDP_MMU_ENABLED": 1})
PLAIN = Swap("account_shadowed:WRITE_ONCE", "store")
AS_LINUX = Set("RMAP_GATE", 0)
COUNT = "kvm_may_have_shadow_mmu_sptes:READ_ONCE"

# -- claim 102: the last large page -----------------------------------------------------------


def age_from_an_odd_page(m: Setup) -> None:
    """Pages 1 and 2 are asked for; a large leaf maps 2 and 3."""
    vm = make_vm(m)
    vm.map(2, level=2)
    m.thread("ager", vm.age(1, 3))
    m.never(
        "young-missed",
        lambda end: end.result("ager") == 0,
        "Page 2 was used, and the pass does not say so.",
    )


ODD = Scenario("age-from-an-odd-page", age_from_an_odd_page, SMALL | AD)

CLAIMS = [
    Claim(
        "97-gate-without-acquire",
        "The lockless ager reads indirect_shadow_pages and then the slot's rmap pointer "
        "without an acquire: a race, which only TSO makes harmless.",
        f"{MMU} (kvm_may_have_shadow_mmu_sptes, gfn_to_rmap), 8c403cf23119; inferred",
        (
            Case("as in Linux", BEGIN, (AS_LINUX, PLAIN)),
            Case("the count marked", BEGIN, (AS_LINUX,), decides=False, heavy=True),
            Case(
                "the count loaded by an acquire, but marked only",
                BEGIN,
                (AS_LINUX, Swap(COUNT, "smp_load_acquire")),
                decides=False,
                heavy=True,
            ),
            Case(
                "the count released and acquired, as TSO does",
                BEGIN,
                (
                    AS_LINUX,
                    Swap(COUNT, "smp_load_acquire"),
                    Swap("account_shadowed:WRITE_ONCE", "smp_store_release"),
                ),
                decides=False,
                heavy=True,
            ),
            Case("shadow_root_allocated acquired as well", BEGIN, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "102-large-step",
        "The shadow MMU's lockless walk looks at each large page that the range touches.",
        f"{MMU} (kvm_rmap_age_gfn_range); inferred",
        (
            Case("as in Linux", ODD, (Set("RMAP_STEP_FROM_START", 1),)),
            Case("steps to the next boundary", ODD, decides=False),
        ),
    ),
]
