"""H_ENTER, faults and H_PROTECT against what the host does: claims 27 to 29."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Setup
from mkold.claims.powerpc.small_hash import (
    FAULTS,
    FIRST_PFN,
    RW,
    HashVm,
    R,
    host_pte,
    make_hash_vm,
)
from mkold.claims.powerpc.small_vm import HVA, SMALL
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hcall_change import kvmppc_h_protect
from mkold.kvm.powerpc.hash.hcall_enter import RC, hpte_retry
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_R_PP,
    HPTE_R_RPN_SHIFT,
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
)
from mkold.kvm.powerpc.hash.hw import mmu_walk_hpt
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_LOCK,
    KVMPPC_RMAP_PRESENT,
    KVMPPC_RMAP_RC_SHIFT,
    gfn_to_rmap,
    kvmppc_add_revmap_chain,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.unmap import kvm_unmap_one
from mkold.kvm.powerpc.hash.vcpu import kvmppc_hpte_hv_fault
from mkold.kvm.retry import kvm_mmu_invalidate_begin, kvm_mmu_invalidate_end
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    kernel,
    parameter,
    spin_lock,
    spin_unlock,
    u64,
)

RM = "arch/powerpc/kvm/book3s_hv_rm_mmu.c (kvmppc_do_h_enter)"
HV = "arch/powerpc/kvm/book3s_64_mmu_hv.c (kvmppc_book3s_hv_page_fault)"
NEW_PFN = 0x77
# How often the host's unmapping looks at the ring: the guest locks the entry once in H_ENTER,
# twice in a fault, and each time may cost the host one look.
UNMAP_ROUNDS = parameter("UNMAP_ROUNDS", 2)


@kernel
def host_changes_pte(kvm: Ptr[Kvm], ptep: Ptr[u64], ptl: Ptr[u64], pte: u64) -> None:
    """What an invalidation of page 0 comes to, in order, with the host's change of its entry
    inside; ``mmu_lock``, which nobody else here takes, is left out, and so is its order.

    ``kvm_unmap_rmapp`` may go round once more than here, which could only take away more.
    """
    kvm_mmu_invalidate_begin(kvm, HVA, HVA + 1)
    rmap = gfn_to_rmap(kvm, 0)
    more: u64 = 1
    for _ in range(UNMAP_ROUNDS):
        if more:
            more = kvm_unmap_one(kvm, rmap, 0)
    spin_lock(ptl.value)
    WRITE_ONCE(ptep.value, pte)
    spin_unlock(ptl.value)
    kvm_mmu_invalidate_end(kvm)


@kernel
def join_ring_checked_early(
    kvm: Ptr[Kvm], rmap: Ptr[u64], index: u64, r: u64, mmu_seq: u64
) -> tuple[u64, u64]:
    """``join_ring`` that looks at the retry counter before it takes the rmap's lock."""
    if hpte_retry(kvm, mmu_seq):
        return 0, r
    lock_rmap(rmap)
    kvmppc_add_revmap_chain(kvm, rmap, index)
    unlock_rmap(rmap)
    rc = READ_ONCE(rmap.value) >> KVMPPC_RMAP_RC_SHIFT
    return 1, r & (rc | ~RC)


@kernel
def anything_is_writable(r: u64) -> u64:
    """Stands for ``hpte_is_writable`` where an HPTE is asked what it allows."""
    return 1


def host_changes(m: Setup, vm: HashVm, pte: int) -> None:
    """The host's thread: an invalidation round a change of the entry of page 0."""
    ptl = m.words(1, "ptl")
    m.thread("host", (host_changes_pte, vm.kvm, vm.host, ptl, pte))


def never_stale(m: Setup) -> None:
    def stale(end: End) -> bool:
        return bool(end["V"] & HPTE_V_VALID) and end["R"] >> HPTE_R_RPN_SHIFT == FIRST_PFN

    m.never("stale-mapping", stale, "The guest maps the frame that the host took away.")
    m.never(
        "not-in-ring",
        lambda end: bool(end["V"] & HPTE_V_VALID) and not end["rmap"] & KVMPPC_RMAP_PRESENT,
        "An entry is mapped, and no invalidation will find it.",
    )
    m.never(
        "left-locked",
        lambda end: bool(end["V"] & HPTE_V_HVLOCK or end["rmap"] & KVMPPC_RMAP_LOCK),
        "All are done, and a lock is still held.",
    )


def enter_and_invalidate(m: Setup) -> None:
    vm = make_hash_vm(m)
    vm.watch()
    m.thread("guest", vm.enters(bits=RW))
    host_changes(m, vm, host_pte(NEW_PFN))
    never_stale(m)


def fault_and_invalidate(m: Setup) -> None:
    """The page's entry is ABSENT: the host had no frame when the guest entered it."""
    vm = make_hash_vm(m)
    present = m.peek(vm.host)
    m.poke(vm.host, 0)
    vm.enter(bits=RW)
    m.poke(vm.host, present)
    vcpu = vm.vcpu()
    vm.watch()
    m.thread("guest", (kvmppc_hpte_hv_fault, vm.kvm, vcpu, 0, 1))
    host_changes(m, vm, host_pte(NEW_PFN))
    never_stale(m)


def write_fault_and_invalidate(m: Setup) -> None:
    """The page is mapped read-only, as the host's was; now the host lets it write."""
    vm = make_hash_vm(m)
    present = m.peek(vm.host)
    m.poke(vm.host, host_pte(FIRST_PFN, writable=False))
    vm.enter(bits=RW)
    m.poke(vm.host, present)
    vcpu = vm.vcpu()
    vm.watch()
    m.thread("guest", (kvmppc_hpte_hv_fault, vm.kvm, vcpu, 0, 1))
    host_changes(m, vm, host_pte(NEW_PFN))
    never_stale(m)


def enter_and_walk(m: Setup) -> None:
    """The hardware searches the table while a page is entered."""
    vm = make_hash_vm(m)
    vcpu = vm.vcpu()
    vm.watch()
    m.thread("hardware", (mmu_walk_hpt, vm.kvm, vcpu, 0, 0))
    m.thread("guest", vm.enters(bits=RW))

    def wrong(end: End) -> bool:
        ok, pfn = end.result("hardware"), end.result("hardware", -1, 1)
        return ok == 1 and pfn != FIRST_PFN

    m.never("half-entered", wrong, "The hardware found the entry, and not what it says.")
    m.never(
        "access-undone",
        lambda end: end.result("hardware") == 1 and not end["R"] & R,
        "The hardware set R, and the entry as it was entered undid it.",
    )


def protect_a_shared_page(m: Setup) -> None:
    """The host's page is read-only; the guest faults its ABSENT entry in, and asks to write."""
    vm = make_hash_vm(m)
    m.poke(vm.host, 0)
    vm.enter(bits=RW)
    m.poke(vm.host, host_pte(FIRST_PFN, writable=False))
    vcpu = vm.vcpu()
    vm.watch()
    m.thread("fault", (kvmppc_hpte_hv_fault, vm.kvm, vcpu, 0, 0))
    m.thread("guest", (kvmppc_h_protect, vm.kvm, RW, 0, 0))
    m.never(
        "shared-page-writable",
        lambda end: bool(end["V"] & HPTE_V_VALID) and end["R"] & HPTE_R_PP == RW,
        "The guest may write to a page that the host made read-only.",
    )


FAULT_ROUNDS = {**SMALL, "UNMAP_ROUNDS": 3}
ENTER = Scenario("hash-enter-vs-invalidate", enter_and_invalidate, SMALL)
ENTER_EARLY = Scenario(
    "hash-enter-checks-early", enter_and_invalidate, SMALL,
    stand_ins={"join_ring": join_ring_checked_early},
)  # fmt: skip
FAULT = Scenario(
    "hash-fault-vs-invalidate", fault_and_invalidate, FAULT_ROUNDS, stand_ins=FAULTS
)
WRITE_FAULT = Scenario(
    "hash-write-fault-vs-invalidate",
    write_fault_and_invalidate,
    FAULT_ROUNDS,
    stand_ins=FAULTS,
)
ENTER_WALK = Scenario("hash-enter-vs-hardware", enter_and_walk, SMALL)
PROTECT = Scenario("hash-protect-vs-fault", protect_a_shared_page, SMALL, stand_ins=FAULTS)
PROTECT_ALL = Scenario(
    "hash-protect-gives-all", protect_a_shared_page, SMALL,
    stand_ins={**FAULTS, "hpte_is_writable": anything_is_writable},
)  # fmt: skip

STALE = frozenset({"stale-mapping"})

CLAIMS = [
    Claim(
        "27-h-enter-vs-invalidate",
        "H_ENTER, which takes no mmu_lock, never maps a frame that an invalidation took away: "
        "the rmap's lock and the retry counter see to it.",
        f"{RM}, {HV}",
        (
            Case("H_ENTER", ENTER),
            Case("a fault at an ABSENT entry", FAULT),
            Case("a write fault at a mapped entry", WRITE_FAULT),
            Case(
                "H_ENTER, counter checked before the rmap's lock",
                ENTER_EARLY,
                decides=False,
                only=STALE,
                heavy=True,
            ),
            Case(
                "fault, counter may be read after the frame",
                FAULT,
                (Drop("kvmppc_book3s_hv_page_fault:smp_rmb"),),
                decides=False,
                only=STALE,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "28-hardware-sees-whole-entries",
        "The hardware never uses an entry before all of it is written.",
        f"{RM} (eieio)",
        (
            Case("H_ENTER", ENTER_WALK),
            Case("no eieio", ENTER_WALK, (Drop("kvmppc_do_h_enter:smp_wmb"),), decides=False),
            Case("V before R", ENTER_WALK, (Drop("mmu_walk_hpt:smp_rmb"),), decides=False),
        ),
    ),
    Claim(
        "29-protect-keeps-read-only",
        "Whatever the guest asks for by H_PROTECT, it can't write to a page that the host made "
        "read-only.",
        "Linux commit b4a839009a08",
        (
            Case("H_PROTECT and a fault", PROTECT),
            Case("H_PROTECT gives what is asked for", PROTECT_ALL, decides=False, heavy=True),
        ),
    ),
]
