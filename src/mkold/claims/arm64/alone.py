"""Aging without the lock against walks that are alone and write plainly: claims 130 to 133."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup
from mkold.claims.arm64.aging import (
    BY_EXCHANGE,
    BY_STORE,
    UPTON,
    hardware,
    one_page,
    protect,
)
from mkold.claims.arm64.small_vm import AF, SMALL, V3, Vm, W
from mkold.kvm.arm64.asm.kvm_host import Kvm
from mkold.kvm.arm64.pgtable.age import AGE_MODE, AGE_READ
from mkold.kvm.arm64.pgtable.pte import S2_AF, stage2_pte_young
from mkold.kvm.arm64.pgtable.update import stage2_try_set_pte
from mkold.kvm.arm64.pgtable.walk import KVM_PGTABLE_WALK_SHARED
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.lang import READ_ONCE, Ptr, addr, kernel, smp_rmb, u64

ATTR = "arch/arm64/kvm/hyp/pgtable.c (stage2_attr_walker)"

# -- claims 130 to 132: write protection -----------------------------------------------------


@kernel
def clear_once(kvm: Ptr[Kvm], ptep: Ptr[u64]) -> tuple[u64, u64]:
    """What a pass does with one young entry: 1 if it cleared the bit, and how many
    invalidations had ended when it read the entry (or some more)."""
    if AGE_MODE == AGE_READ:
        kvm_mmu_read_lock(kvm, addr(kvm.stat.lock_waits))
    pte = READ_ONCE(ptep.value)
    smp_rmb()
    seq = READ_ONCE(kvm.mmu_invalidate_seq)
    done: u64 = 0
    if stage2_pte_young(pte):
        done = stage2_try_set_pte(ptep, pte, pte & ~S2_AF, KVM_PGTABLE_WALK_SHARED)
    if AGE_MODE == AGE_READ:
        kvm_mmu_read_unlock(kvm)
    return done, seq


def age_protect(m: Setup) -> None:
    vm = one_page(m)
    m.thread("ager", (clear_once, vm.kvm, vm.entry(0)))
    m.thread("log", (protect, vm.kvm))
    m.never(
        "young-again",
        lambda end: end.result("ager") == 1 and bool(end["pte0"] & AF),
        "A pass cleared the bit, nobody touched the page, and it is set.",
    )
    m.never(
        "writable-again",
        lambda end: bool(end["pte0"] & W),
        "The entry is writable, and the dirty log relies on a fault.",
    )


def hardware_protect(m: Setup) -> None:
    vm = one_page(m, young=False)
    m.thread("log", (protect, vm.kvm))
    hardware(m, vm)
    m.never(
        "access-lost",
        lambda end: end.result("hardware") == 1 and not end["pte0"] & AF,
        "The guest touched the page, and its entry is not young.",
    )


PROTECT = Scenario("age-vs-write-protection", age_protect, SMALL)
PROTECT_V3 = Scenario("age-under-read-lock-vs-write-protection", age_protect, {**SMALL, **V3})
HW_PROTECT = Scenario("hardware-vs-write-protection", hardware_protect, SMALL)
YOUNG_AGAIN = frozenset({"young-again"})
WRITABLE_AGAIN = frozenset({"writable-again", "data-race", "use-after-free"})
ACCESS_LOST = frozenset({"access-lost"})
SHARED_PROTECT = (Set("WRPROTECT_SHARED", 1),)

# -- claim 133: the same entry twice ---------------------------------------------------------


def _same_again(m: Setup) -> Vm:
    """The page is unmapped, and a fault of the guest maps it to the same frame again."""
    vm = one_page(m)
    vcpu = vm.vcpu("vcpu", stock=0)
    m.thread("host", vm.unmap(), vm.unmap_end(), vm.maps(vcpu, 0))
    return vm


def clear_same_again(m: Setup) -> None:
    vm = _same_again(m)
    m.thread("ager", (clear_once, vm.kvm, vm.entry(0)))

    def fresh_cleared(end: End) -> bool:
        cleared, seq = end.result("ager", -1, 0), end.result("ager", -1, 1)
        return bool(cleared) and seq == 0 and not end["pte0"] & AF

    m.never(
        "fresh-cleared",
        fresh_cleared,
        "The pass read the old entry and cleared the accessed bit of the new one.",
    )


def age_same_again(m: Setup) -> None:
    vm = _same_again(m)
    m.thread("ager", vm.age())
    m.never(
        "access-lost",
        lambda end: not end["pte0"] & AF and not end.result("ager", -1, 1),
        "The guest touched the page; no pass reported it, and the next one will not either.",
    )


CLEAR_SAME = Scenario("clear-vs-same-entry-again", clear_same_again, SMALL)
CLEAR_SAME_V3 = Scenario(
    "clear-under-read-lock-vs-same-again", clear_same_again, {**SMALL, **V3}
)
SAME = Scenario("age-vs-same-entry-again", age_same_again, SMALL)
FRESH = frozenset({"fresh-cleared"})

CLAIMS = [
    Claim(
        "130-wrprotect-makes-young-again",
        "Under RCU alone write protection, a plain store, may bring back an accessed bit that "
        "a pass has cleared: a page looks young that nobody touched.",
        UPTON,
        (
            Case("second version", PROTECT, only=YOUNG_AGAIN),
            Case(
                "write protection by cmpxchg",
                PROTECT,
                SHARED_PROTECT,
                only=YOUNG_AGAIN,
                decides=False,
            ),
            Case("third version", PROTECT_V3, only=YOUNG_AGAIN, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "131-wrprotect-undoes-an-access",
        "Write protection may undo an accessed bit that the hardware has just set, whatever "
        "ages (the kernel accepts it).",
        f"{ATTR}, its comment",
        (
            Case("as upstream", HW_PROTECT, only=ACCESS_LOST),
            Case(
                "write protection by cmpxchg",
                HW_PROTECT,
                SHARED_PROTECT,
                only=ACCESS_LOST,
                decides=False,
            ),
        ),
        asks="possible",
    ),
    Claim(
        "132-protection-holds",
        "Under RCU alone a pass never undoes write protection, on which the dirty log rests.",
        UPTON,
        (
            Case("second version", PROTECT, only=WRITABLE_AGAIN),
            Case("third version", PROTECT_V3, only=WRITABLE_AGAIN),
            Case("an exchange", PROTECT, BY_EXCHANGE, only=WRITABLE_AGAIN, decides=False),
            Case("a store", PROTECT, BY_STORE, only=WRITABLE_AGAIN, decides=False),
            Case(
                "write protection by one cmpxchg",
                PROTECT,
                SHARED_PROTECT,
                only=WRITABLE_AGAIN,
                decides=False,
            ),
        ),
    ),
    Claim(
        "133a-same-entry-again",
        "Under RCU alone a pass may clear the accessed bit of an entry that was unmapped and "
        "made anew, the same as before, after the pass had read it.",
        UPTON,
        (
            Case("second version", CLEAR_SAME, only=FRESH),
            Case("third version", CLEAR_SAME_V3, only=FRESH, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "133b-and-no-access-is-lost",
        "That does no harm: the pass reports the page young.",
        UPTON,
        (Case("second version", SAME),),
    ),
]
