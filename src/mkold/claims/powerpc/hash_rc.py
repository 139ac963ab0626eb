"""R and C in hash mode, which the hardware sets by stores of bytes: claims 24, 25 and 26.

For the model a store of a byte is a change of the whole word, in one step: it knows one size
of access. So claim 26 decides what bytes are good for, not whether hardware tears them.
"""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Skip
from mkold.claims.generic.guest import FRAME_SHIFT
from mkold.claims.powerpc.small_hash import RW, C, HashVm, R, host_pte, make_hash_vm
from mkold.claims.powerpc.small_vm import SMALL
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.age import kvm_age_rmapp
from mkold.kvm.powerpc.hash.dirty import kvm_hpt_test_clear_dirty
from mkold.kvm.powerpc.hash.hcall_change import kvmppc_do_h_remove
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_R_C,
    HPTE_R_R,
    HPTE_V_VALID,
    hpte_is_writable,
    hpte_rpn,
)
from mkold.kvm.powerpc.hash.hw import hpt_search, mmu_walk_hpt, set_rc_bytes
from mkold.kvm.powerpc.hash.tlbie import do_tlbies
from mkold.kvm.powerpc.hash.unmap import kvm_unmap_rmapp
from mkold.kvm.types import IN_GUEST_MODE, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, byte, cast, kernel, smp_rmb, u64

RM = "arch/powerpc/kvm/book3s_hv_rm_mmu.c"
BYTES = "Linux commit 9308ab8e2da9 and Power ISA 2.07B, Book III-S, 5.7.8"
LATE = "Linux commits 1e5bf454f587 and 6c576e74fd91"


@kernel
def guest_touches(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], write: u64) -> u64:
    """Enter the guest, let the hardware translate an access to page 0, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = mmu_walk_hpt(kvm, vcpu, 0, write)
    kvm_vcpu_put(vcpu)
    return ok


@kernel
def guest_writes_late(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Enter the guest and write to page 0; the hardware writes C back after the data."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    hpte = hpt_search(kvm, 0)
    done: u64 = 0
    if hpte != NULL:
        smp_rmb()
        r = READ_ONCE(hpte[1])
        if hpte_is_writable(r):
            WRITE_ONCE(cast(Ptr[u64], hpte_rpn(r) << FRAME_SHIFT).value, 1)
            set_rc_bytes(hpte, r, 1)
            done = 1
    kvm_vcpu_put(vcpu)
    return done


@kernel
def write_back(vcpu: Ptr[Vcpu], hpte: Ptr[u64]) -> None:
    """All that is left of a vCPU that has stopped: C, which its core has yet to write back
    before it takes part in a tlbie."""
    WRITE_ONCE(byte(hpte[1], 0), READ_ONCE(hpte[1]) | HPTE_R_C)
    kvm_vcpu_put(vcpu)


@kernel
def nobody_runs(kvm: Ptr[Kvm]) -> u64:
    """Stands for ``vcpus_running``: the vCPUs have been stopped."""
    return 0


@kernel
def set_rc_word(hpte: Ptr[u64], r: u64, write: u64) -> u64:
    """``set_rc_bytes`` by a store of the whole word."""
    r = r | HPTE_R_R | (HPTE_R_C if write else 0)
    WRITE_ONCE(hpte[1], r)
    return r


@kernel
def clear_ref_word(kvm: Ptr[Kvm], hpte: Ptr[u64], index: u64) -> None:
    """``kvmppc_clear_ref_hpte`` by a store of the whole word."""
    WRITE_ONCE(hpte[1], READ_ONCE(hpte[1]) & ~HPTE_R_R)
    do_tlbies(kvm, READ_ONCE(hpte[0]), index)


def mapped(m: Setup, *, bits: int = RW) -> tuple[HashVm, int]:
    """A VM with one page, entered and not touched; and a vCPU."""
    vm = make_hash_vm(m)
    vm.enter(bits=bits)
    vcpu = vm.vcpu()
    vm.watch()
    return vm, vcpu


def with_frame(m: Setup) -> tuple[HashVm, int, int]:
    """The same over a frame of the scenario's memory, watched as ``frame0``."""
    vm = make_hash_vm(m)
    frame = m.words(1 << FRAME_SHIFT, "frame", align=1 << FRAME_SHIFT)
    m.poke(vm.host, host_pte(frame >> FRAME_SHIFT))
    m.watch("frame0", frame)
    vm.enter(bits=RW)
    vcpu = vm.vcpu()
    vm.watch()
    return vm, vcpu, frame


def in_entry(end: End) -> int:
    """R and C that the entry has, while it is mapped: what an ABSENT one has nobody reads."""
    return end["R"] & (R | C) if end["V"] & HPTE_V_VALID else 0


# -- claim 24: R ------------------------------------------------------------------------------


def _never_unseen(m: Setup, ager: str = "") -> None:
    def lost(end: End) -> bool:
        known = (end["rmap"] >> 32 | in_entry(end)) & R
        return end.result("guest") == 1 and not known and not (ager and end.result(ager))

    m.never("referenced-lost", lost, "The guest used the page, and the host will never know.")


def touch_and_unmap(m: Setup) -> None:
    vm, vcpu = mapped(m)
    m.thread("guest", (guest_touches, vm.kvm, vcpu, 0))
    m.thread("host", (kvm_unmap_rmapp, vm.kvm, 0))
    _never_unseen(m)


def touch_and_remove(m: Setup) -> None:
    vm, vcpu = mapped(m)
    m.thread("guest", (guest_touches, vm.kvm, vcpu, 0))
    m.thread("other", (kvmppc_do_h_remove, vm.kvm, 0, 0, 0))
    _never_unseen(m)


def touch_and_age(m: Setup) -> None:
    vm, vcpu = mapped(m)
    m.thread("guest", (guest_touches, vm.kvm, vcpu, 0))
    m.thread("host", (kvm_age_rmapp, vm.kvm, 0))
    _never_unseen(m, "host")


def remove_and_age(m: Setup) -> None:
    """The page is young; its entry goes while the page is aged."""
    vm, vcpu = mapped(m)
    vm.touch(vcpu)
    m.thread("guest", (kvmppc_do_h_remove, vm.kvm, 0, 0, 0))
    m.thread("host", (kvm_age_rmapp, vm.kvm, 0))
    m.never(
        "young-missed",
        lambda end: not end.result("host") and not (end["rmap"] >> 32) & R,
        "The page was young from the start; aging does not say so, and nobody knows.",
    )


# -- claim 25: C ------------------------------------------------------------------------------


def _never_unlogged(m: Setup) -> None:
    m.never(
        "dirty-lost",
        lambda end: end.result("guest") == 1 and not end["dirty"] & 1,
        "The guest wrote to the page, and the dirty log does not say so.",
    )


def write_and_unmap(m: Setup) -> None:
    vm, vcpu, _frame = with_frame(m)
    vm.log()
    m.thread("guest", (guest_writes_late, vm.kvm, vcpu))
    m.thread("host", (kvm_unmap_rmapp, vm.kvm, 0))
    _never_unlogged(m)


def write_and_remove(m: Setup) -> None:
    vm, vcpu, _frame = with_frame(m)
    vm.log()
    m.thread("guest", (guest_writes_late, vm.kvm, vcpu))
    m.thread("other", (kvmppc_do_h_remove, vm.kvm, 0, 0, 0))
    _never_unlogged(m)


@kernel
def harvest_and_copy(kvm: Ptr[Kvm], frame: Ptr[u64]) -> tuple[u64, u64]:
    """What live migration does: harvest C, then copy the page."""
    dirty = kvm_hpt_test_clear_dirty(kvm, 0)
    return dirty, READ_ONCE(frame.value)


def write_and_harvest(m: Setup) -> None:
    vm, vcpu, frame = with_frame(m)
    m.thread("guest", (guest_writes_late, vm.kvm, vcpu))
    m.thread("migration", (harvest_and_copy, vm.kvm, frame))

    def lost(end: End) -> bool:
        copied_old = end["frame0"] == 1 and end.result("migration", -1, 1) == 0
        return copied_old and not in_entry(end) & C

    m.never("write-not-migrated", lost, "A write was not copied, and C does not say so.")


def last_harvest(m: Setup) -> None:
    """The vCPUs are stopped; a core has yet to write C back. This harvest is the last."""
    vm, vcpu = mapped(m, bits=RW | R)
    m.poke(vcpu + Vcpu.offset("mode"), IN_GUEST_MODE)
    m.thread("core", (write_back, vcpu, vm.hpt))
    m.thread("migration", (kvm_hpt_test_clear_dirty, vm.kvm, 0))
    m.never(
        "dirty-lost",
        lambda end: not end.result("migration"),
        "The page is dirty, and the last harvest does not say so.",
    )


# -- claim 26: bytes --------------------------------------------------------------------------


def read_and_write(m: Setup) -> None:
    """Two vCPUs' hardware, one sets R, the other R and C."""
    vm, reader = mapped(m)
    writer = vm.vcpu("writer")
    m.thread("guest", (mmu_walk_hpt, vm.kvm, reader, 0, 0))
    m.thread("writer", (mmu_walk_hpt, vm.kvm, writer, 0, 1))
    m.never("changed-lost", lambda end: not end["R"] & C, "A page was written, and C is clear.")
    m.never("referenced-lost", lambda end: not end["R"] & R, "A page was used, and R is clear.")


def write_and_age(m: Setup) -> None:
    vm, vcpu = mapped(m)
    vm.touch(vcpu)
    m.thread("guest", (guest_touches, vm.kvm, vcpu, 1))
    m.thread("host", (kvm_age_rmapp, vm.kvm, 0))
    m.never("changed-lost", lambda end: not end["R"] & C, "A page was written, and C is clear.")


TOUCH_UNMAP = Scenario("hash-touch-vs-unmap", touch_and_unmap, SMALL)
TOUCH_REMOVE = Scenario("hash-touch-vs-remove", touch_and_remove, SMALL)
TOUCH_AGE = Scenario("hash-touch-vs-age", touch_and_age, SMALL)
GOING_AGE = Scenario("hash-young-remove-vs-age", remove_and_age, SMALL)
WRITE_UNMAP = Scenario("hash-write-vs-unmap", write_and_unmap, SMALL)
WRITE_REMOVE = Scenario("hash-write-vs-remove", write_and_remove, SMALL)
WRITE_HARVEST = Scenario("hash-write-vs-dirty-log", write_and_harvest, SMALL)
LAST_HARVEST = Scenario(
    "hash-last-harvest", last_harvest, SMALL, stand_ins={"vcpus_running": nobody_runs}
)
READ_WRITE = Scenario("hash-two-vcpus-set-bits", read_and_write, SMALL)
WRITE_AGE = Scenario("hash-write-vs-age", write_and_age, SMALL)
WORD_SET = Scenario(
    "hash-two-vcpus-store-words", read_and_write, SMALL, stand_ins={"set_rc_bytes": set_rc_word}
)
WORD_CLEAR = Scenario(
    "hash-age-stores-a-word", write_and_age, SMALL,
    stand_ins={"kvmppc_clear_ref_hpte": clear_ref_word},
)  # fmt: skip

EARLY = (Set("HPT_RC_BEFORE_TLBIE", 1),)
NO_TLBIE = (Skip("do_tlbies"),)

CLAIMS = [
    Claim(
        "24-hash-referenced-kept",
        "No access of the guest is lost between the harvest of R and the entry's end: it is in "
        "the entry, in the rmap word, or in what aging answered.",
        f"{RM} (kvmppc_do_h_remove), Linux commit bad3b5075eb8",
        (
            Case("unmapping", TOUCH_UNMAP),
            Case("H_REMOVE", TOUCH_REMOVE),
            Case("aging", TOUCH_AGE),
            Case("aging, and H_REMOVE of a young entry", GOING_AGE),
            Case("unmapping, R read before the tlbie", TOUCH_UNMAP, EARLY, decides=False),
            Case("H_REMOVE, R read before the tlbie", TOUCH_REMOVE, EARLY, decides=False),
        ),
    ),
    Claim(
        "25-hash-changed-kept",
        "C is never lost, though the hardware may write it back as late as the tlbie.",
        LATE,
        (
            Case("unmapping", WRITE_UNMAP),
            Case("H_REMOVE", WRITE_REMOVE),
            Case("dirty log while the guest runs", WRITE_HARVEST),
            Case("dirty log after the vCPUs stopped", LAST_HARVEST),
            Case("unmapping, C read before the tlbie", WRITE_UNMAP, EARLY, decides=False),
            Case("H_REMOVE, C read before the tlbie", WRITE_REMOVE, EARLY, decides=False),
            Case("dirty log, no tlbie", WRITE_HARVEST, NO_TLBIE, decides=False),
            Case(
                "dirty log after the vCPUs stopped, C = 0 trusted",
                LAST_HARVEST,
                (Set("HPT_TRUST_C", 1),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "26-byte-stores-of-r-and-c",
        "R and C lie in different bytes, so that who sets or clears one by a store of its byte "
        "can't lose the other.",
        BYTES,
        (
            Case("two vCPUs set bits", READ_WRITE),
            Case("aging clears R while C is set", WRITE_AGE),
            Case("hardware that stores words", WORD_SET, decides=False),
            Case("aging that stores a word", WORD_CLEAR, decides=False),
        ),
    ),
]
