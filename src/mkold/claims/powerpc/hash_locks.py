"""The two locks of the hash table: claims 22 and 23."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Swap
from mkold.claims.powerpc.small_hash import RW, C, HashVm, R, make_hash_vm
from mkold.claims.powerpc.small_vm import SMALL
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.age import age_locked_hpte, kvm_age_rmapp
from mkold.kvm.powerpc.hash.hcall_change import kvmppc_do_h_remove, kvmppc_h_clear_ref
from mkold.kvm.powerpc.hash.hpt import hpt_entry
from mkold.kvm.powerpc.hash.hvlock import __unlock_hpte, lock_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_LOCK,
    KVMPPC_RMAP_PRESENT,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.unmap import kvm_unmap_rmapp, kvmppc_unmap_hpte
from mkold.lang import READ_ONCE, Ptr, kernel, u64

LOCKS = "Linux commit 06ce2c63d933 and arch/powerpc/kvm/book3s_64_mmu_hv.c (kvm_unmap_rmapp)"


@kernel
def unmap_one_waiting(kvm: Ptr[Kvm], rmap: Ptr[u64], gfn: u64) -> u64:
    """``kvm_unmap_one`` that waits for the HPTE's lock with the rmap's in hand."""
    lock_rmap(rmap)
    word = READ_ONCE(rmap.value)
    if not word & KVMPPC_RMAP_PRESENT:
        unlock_rmap(rmap)
        return 0
    index = word & KVMPPC_RMAP_INDEX
    hpte = hpt_entry(kvm, index)
    lock_hpte(hpte)
    kvmppc_unmap_hpte(kvm, rmap, gfn, index)
    unlock_rmap(rmap)
    __unlock_hpte(hpte, READ_ONCE(hpte[0]))
    return 1


@kernel
def age_ring_waiting(kvm: Ptr[Kvm], first: u64) -> tuple[u64, u64]:
    """``age_ring`` of one HPTE that waits for its lock with the rmap's in hand."""
    hpte = hpt_entry(kvm, first)
    lock_hpte(hpte)
    young = age_locked_hpte(kvm, first)
    __unlock_hpte(hpte, READ_ONCE(hpte[0]))
    return young, ~0


def _mapped(m: Setup, *, young: bool = True) -> HashVm:
    vm = make_hash_vm(m)
    vm.enter()
    if young:
        vm.touch(vm.vcpu())
    vm.watch()
    return vm


def _never_locked(m: Setup) -> None:
    m.never(
        "left-locked",
        lambda end: bool(end["V"] & 0x40 or end["rmap"] & KVMPPC_RMAP_LOCK),
        "All are done, and a lock is still held.",
    )


def remove_and_unmap(m: Setup) -> None:
    vm = _mapped(m)
    m.thread("guest", (kvmppc_do_h_remove, vm.kvm, 0, 0, 0))
    m.thread("host", (kvm_unmap_rmapp, vm.kvm, 0))
    _never_locked(m)
    m.never(
        "still-in-ring",
        lambda end: bool(end["rmap"] & KVMPPC_RMAP_PRESENT),
        "The entry is removed and unmapped, and the page's ring is not empty.",
    )


def remove_and_age(m: Setup) -> None:
    vm = _mapped(m)
    m.thread("guest", (kvmppc_do_h_remove, vm.kvm, 0, 0, 0))
    m.thread("host", (kvm_age_rmapp, vm.kvm, 0))
    _never_locked(m)


def clear_ref_and_age(m: Setup) -> None:
    vm = _mapped(m)
    m.thread("guest", (kvmppc_h_clear_ref, vm.kvm, 0))
    m.thread("host", (kvm_age_rmapp, vm.kvm, 0))
    _never_locked(m)

    def missed(end: End) -> bool:
        return not end.result("host") and not (end["rmap"] >> 32 | end["R"]) & R

    m.never("young-missed", missed, "The page was young, and nobody knows.")


def removed_and_unmapped(m: Setup) -> None:
    """The guest has written to a page that it thinks clean; the host takes the page away while
    the guest removes the entry, and is told whether to keep its own page."""
    vm = make_hash_vm(m)
    vm.enter(bits=RW)
    vm.touch(vm.vcpu(), write=True)
    vm.watch()
    m.thread("guest", (kvmppc_do_h_remove, vm.kvm, 0, 0, 0))
    m.thread("host", (kvm_unmap_rmapp, vm.kvm, 0))
    m.never(
        "guest-dirty-lost",
        lambda end: not end.result("guest", -1, 2) & C,
        "The guest wrote to the page, and what it gets back of the entry says that it did not.",
    )


def two_enters(m: Setup) -> None:
    """Two vCPUs enter pages for one guest page, in two slots: one ring."""
    vm = make_hash_vm(m)
    vm.watch()
    m.thread("first", vm.enters(page=0, index=0))
    m.thread("second", vm.enters(page=1, index=1))
    for i in (0, 1):
        m.watch(f"forw{i}", vm.rev + 3 * i + 1)
        m.watch(f"back{i}", vm.rev + 3 * i + 2)

    def broken(end: End) -> bool:
        links = [end[f"{way}{i}"] for i in (0, 1) for way in ("forw", "back")]
        return links != [1, 1, 0, 0]

    m.never("ring-broken", broken, "Two entries of one page, and its ring does not have both.")


REMOVE_UNMAP = Scenario("hash-remove-vs-unmap", remove_and_unmap, SMALL)
REMOVE_AGE = Scenario("hash-remove-vs-age", remove_and_age, SMALL)
CLEAR_REF_AGE = Scenario("hash-clear-ref-vs-age", clear_ref_and_age, SMALL)
REMOVED = Scenario("hash-remove-of-a-dirty-page", removed_and_unmapped, SMALL)
TWO_ENTERS = Scenario("hash-two-enters", two_enters, SMALL)
UNMAP_WAITS = Scenario(
    "hash-remove-vs-waiting-unmap", remove_and_unmap, SMALL,
    stand_ins={"kvm_unmap_one": unmap_one_waiting},
)  # fmt: skip
AGE_WAITS = Scenario(
    "hash-remove-vs-waiting-age", remove_and_age, SMALL,
    stand_ins={"age_ring": age_ring_waiting},
)  # fmt: skip

BARE = (Set("HPT_BARE_UNLOCK", 1),)
RMAP_BARE = (Swap("unlock_rmap:clear_bit_unlock", "clear_bit"),)

CLAIMS = [
    Claim(
        "22-hash-locks-no-deadlock",
        "The lock of an HPTE and that of an rmap word, taken in both orders, never deadlock: "
        "who comes from the rmap only tries.",
        LOCKS,
        (
            Case("H_REMOVE and unmapping", REMOVE_UNMAP),
            Case("H_REMOVE and aging", REMOVE_AGE),
            Case("H_CLEAR_REF and aging", CLEAR_REF_AGE),
            Case("unmapping waits for the HPTE", UNMAP_WAITS, decides=False, heavy=True),
            Case("aging waits for the HPTE", AGE_WAITS, decides=False),
        ),
    ),
    Claim(
        "23-hash-locks-exclude",
        "Each lock guards what it is said to: rings, and the guest's view of an entry.",
        LOCKS,
        (
            Case("two entries for one page", TWO_ENTERS),
            Case("H_REMOVE of a page that is unmapped", REMOVED),
            Case("H_CLEAR_REF of a page that is aged", CLEAR_REF_AGE),
            Case("HPTE let go by a bare store: H_REMOVE", REMOVED, BARE, decides=False),
            Case("HPTE let go by a bare store: aging", CLEAR_REF_AGE, BARE, decides=False),
            Case("rmap let go by a bare store", TWO_ENTERS, RMAP_BARE, decides=False),
        ),
    ),
]
