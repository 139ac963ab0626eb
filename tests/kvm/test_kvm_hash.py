"""The hash table, one CPU at a time: words, hcalls, rings, both views of R and C."""

from __future__ import annotations

import random

import pytest
from hash_machine import (
    ABSENT,
    GFNS,
    PFN,
    REFERENCED,
    RO,
    RW,
    VALID,
    Books,
    C,
    HashMachine,
    R,
    hash_image,
    signed,
)
from kvm_machine import Machine

from mkold.kvm.powerpc.hash.hcall_enter import (
    H_ANDCOND,
    H_AVPN,
    H_NOT_FOUND,
    H_PARAMETER,
    H_PTEG_FULL,
)
from mkold.kvm.powerpc.hash.hpte import HASH_4K, HASH_64K, HPTE_V_SECONDARY
from mkold.kvm.types import RESUME_HOST, Vcpu
from mkold.mm.mmu_notifier import MMU_NOTIFIER_RANGE_YOUNG

NPTE = 256


@pytest.fixture
def machine() -> HashMachine:
    return HashMachine()


@pytest.mark.parametrize("geometry", [HASH_4K, pytest.param(HASH_64K, marks=pytest.mark.slow)])
def test_a_place_and_an_avpn_say_the_page(geometry: dict[str, int]) -> None:
    """As tlbie needs it: 2048 groups, the least that there may be."""
    machine = Machine(hash_image(tuple(sorted(geometry.items()))))
    chance = random.Random(1)
    for gfn in [0, 1, 2047, 2048, *(chance.randrange(1 << 30) for _ in range(200))]:
        vpn = machine("hpt_vpn", gfn)
        assert machine("vpn_gfn", vpn) == gfn
        v = machine("hpte_encode_avpn", vpn)
        group = machine("hpt_hash", vpn)
        assert isinstance(v, int)
        assert isinstance(group, int)
        slot = chance.randrange(8)
        assert machine("hpte_vpn", v, (group & 2047) << 3 | slot) == vpn
        secondary = (~group & 2047) << 3 | slot
        assert machine("hpte_vpn", v | HPTE_V_SECONDARY, secondary) == vpn


def test_enter_links_and_remove_unlinks(machine: HashMachine) -> None:
    indices = [machine.enter(page, 3, index=i) for i, page in enumerate((3, 4, 5))]
    assert machine.ring(3) == indices == [0, 1, 2]
    assert machine.remove(0)[0] == 0
    assert machine.ring(3) == [1, 2]
    assert machine.remove(2)[0] == 0
    assert machine.ring(3) == [1]
    assert machine.remove(1)[0] == 0
    assert machine.ring(3) == []
    assert machine.audited() == 0


def test_hcalls_say_what_is_wrong(machine: HashMachine) -> None:
    assert machine.enter(0, 0, index=NPTE) == H_PARAMETER
    assert machine.enter(0, 0, index=5) == 5
    assert machine.enter(1, 1, index=5) == H_PTEG_FULL
    assert machine.remove(NPTE)[0] == H_PARAMETER
    assert machine.remove(4)[0] == H_NOT_FOUND
    v, _ = machine.hpte(5)
    assert machine.remove(5, H_AVPN, v + (1 << 20))[0] == H_NOT_FOUND
    assert machine.remove(5, H_ANDCOND, VALID)[0] == H_NOT_FOUND
    assert machine.remove(5, H_AVPN, v)[0] == 0


def test_a_full_group_says_so(machine: HashMachine) -> None:
    group = [machine.enter(2, gfn % GFNS) for gfn in range(8)]
    assert sorted(group) == list(range(16, 24))
    assert machine.enter(2, 0) == H_PTEG_FULL


def test_a_page_without_a_frame_is_absent(machine: HashMachine) -> None:
    machine.host(1, 0)
    index = machine.enter(1, 1)
    assert machine.hpte(index)[0] & (VALID | ABSENT) == ABSENT
    assert machine.ring(1) == []
    assert machine.walk(1) == 0


def test_a_page_that_the_host_may_not_write_is_read_only(machine: HashMachine) -> None:
    machine.host(1, PFN, writable=False)
    index = machine.enter(1, 1, RW | R)
    assert machine.walk(1) == PFN
    assert machine.walk(1, 1) == 0, "it faults"
    failed = machine("kvmppc_h_protect", machine.kvm, RW, index, 0)
    assert failed == 0
    assert machine.walk(1, 1) == 0, "H_PROTECT gives no more than the host does"


def test_an_invalidation_in_progress_makes_the_entry_absent(machine: HashMachine) -> None:
    machine(
        "mmu_notifier_invalidate_range_start", machine.mm, machine.hva + 9, machine.hva + 10
    )
    index = machine.enter(1, 1)
    assert machine.hpte(index)[0] & (VALID | ABSENT) == ABSENT
    assert machine.ring(1) == []


def test_the_hardware_sets_bytes_alone(machine: HashMachine) -> None:
    index = machine.enter(1, 1, RW)
    before = machine.hpte(index)[1]
    assert machine.walk(1) == PFN + 1
    assert machine.hpte(index)[1] == before | R
    assert machine.walk(1, 1) == PFN + 1
    assert machine.hpte(index)[1] == before | R | C


def test_a_new_entry_starts_with_what_the_host_knows(machine: HashMachine) -> None:
    index = machine.enter(1, 1, RW | R)
    assert not machine.hpte(index)[1] & R, "the guest said R, the host has not seen it"
    machine.walk(1)
    machine.remove(index)
    assert machine.rmap(1) & REFERENCED
    index = machine.enter(1, 1, RW | R)
    assert machine.hpte(index)[1] & R
    assert machine.age(1)
    machine.remove(index)
    assert not machine.rmap(1) & REFERENCED


def test_clear_ref_takes_from_the_guest_and_gives_to_the_host(machine: HashMachine) -> None:
    index = machine.enter(1, 1, RW)
    machine.walk(1)
    failed, seen = machine("kvmppc_h_clear_ref", machine.kvm, index)  # type: ignore[misc]
    assert signed(failed) == 0
    assert seen & R
    assert not machine.guest_view(index) & R
    assert not machine.hpte(index)[1] & R
    assert machine("kvm_test_age_rmapp", machine.kvm, 1) == 1
    assert machine.age(1) == 1
    assert machine.age(1) == 0


def test_unmapping_takes_every_entry_of_a_page(machine: HashMachine) -> None:
    log = machine.log()
    indices = [machine.enter(page, 5, RW) for page in (10, 11, 12)]
    assert machine.walk(11, 1) == PFN + 5
    machine("kvm_unmap_rmapp", machine.kvm, 5)
    assert machine.ring(5) == []
    assert [machine.hpte(i)[0] & (VALID | ABSENT) for i in indices] == [ABSENT] * 3
    assert [machine.guest_view(i) & (R | C) for i in indices] == [0, R | C, 0]
    assert machine.words[log] == 1 << 5
    assert machine.age(5)
    assert not machine.age(5)
    assert machine.audited() == 0


def test_through_the_vcpu(machine: HashMachine) -> None:
    """Miss, H_ENTER, H_PROTECT at the first write; aging is seen by the next access."""
    kvm, vcpu = machine.kvm, machine.vcpus[0]
    assert machine("kvm_vcpu_load", kvm, vcpu) == 0
    assert machine("kvm_vcpu_access", kvm, vcpu, 3, 0) == PFN + 3
    (index,) = machine.ring(3)
    assert machine.hpte(index)[1] & (R | C | 3) == R | RO
    assert machine("kvm_vcpu_access", kvm, vcpu, 3, 1) == PFN + 3
    assert machine.ring(3) == [index], "the same entry, raised"
    assert machine.hpte(index)[1] & (R | C | 3) == R | C | RW
    machine("kvm_vcpu_put", vcpu)
    hva = machine.hva + 3
    assert machine.young(3, 4, 1) == MMU_NOTIFIER_RANGE_YOUNG
    assert machine.young(3, 4, 0) == 0
    assert machine("kvm_vcpu_load", kvm, vcpu) == 0
    machine("kvm_vcpu_access", kvm, vcpu, 3, 0)
    assert machine.young(3, 4, 0) == MMU_NOTIFIER_RANGE_YOUNG, "the tlbie made it walk again"
    machine("kvm_vcpu_put", vcpu)
    machine("mmu_notifier_invalidate_range_start", machine.mm, hva, hva + 1)
    machine("mmu_notifier_invalidate_range_end", machine.mm, hva, hva + 1)
    machine.host(3, PFN + 77)
    assert machine("kvm_vcpu_load", kvm, vcpu) == 0
    assert machine("kvm_vcpu_access", kvm, vcpu, 3, 0) == PFN + 77
    assert machine.ring(3) == [index], "the ABSENT entry, mapped again"
    machine("kvm_vcpu_put", vcpu)
    assert machine.audited() == 0
    assert machine("kvmppc_hash_page_fault", kvm, vcpu, 1 << 20, 0) == RESUME_HOST


@pytest.mark.slow
def test_a_small_table_makes_room(machine: HashMachine) -> None:
    """Two groups for 128 pages: most entries have to go, and none is lost for good."""
    machine = HashMachine(HPT_ORDER=8)
    kvm, vcpu = machine.kvm, machine.vcpus[0]
    assert machine("kvm_vcpu_load", kvm, vcpu) == 0
    for gfn in [*range(128), *range(128)]:
        assert machine("kvm_vcpu_access", kvm, vcpu, gfn, gfn & 1) == PFN + gfn
    machine("kvm_vcpu_put", vcpu)
    assert machine.audited() == 0
    assert machine.word(vcpu, Vcpu, "stat") >= 128
    assert all(machine.age(gfn) for gfn in range(128)), "R of an entry that went is kept"


def test_switches_free_and_forget(machine: HashMachine) -> None:
    machine.enter(1, 1)
    machine.walk(1)
    assert machine("kvmhv_configure_mmu", machine.kvm, 1) == 0
    assert machine.word(machine.arch("hpt.virt")) == 0
    assert machine.rmap(1) == 0
    machine.create(1, 64)
    assert machine("kvmhv_configure_mmu", machine.kvm, 0) == 0
    assert machine.state() == {}
    assert machine.young(0, GFNS, 0) == 0
    assert machine.hpte(0) == (0, 0), "the area was zeroed before it was used again"
    assert machine("kvm_vm_ioctl_allocate_htab", machine.kvm, 12) == 0
    assert machine("kvm_vm_ioctl_allocate_htab", machine.kvm, 13) == 0
    assert machine.audited() == 0
    machine("kvm_destroy_vm", machine.kvm)


def test_no_memory_for_a_table_is_said(machine: HashMachine) -> None:
    assert machine("kvm_vm_ioctl_allocate_htab", machine.kvm, 30) == 1
    assert machine("kvmhv_configure_mmu", machine.kvm, 0) == 0, "a small one still fits"


@pytest.mark.parametrize("seed", range(8))
def test_against_plain_books(seed: int) -> None:
    """Random operations; rings, views, the log and what aging says agree with dictionaries."""
    machine, books = HashMachine(), Books()
    chance = random.Random(seed)
    log = machine.log()
    absent = {gfn for gfn in range(GFNS) if chance.random() < 0.2}
    for gfn in absent:
        machine.host(gfn, 0)
    for _ in range(300):
        step(machine, books, chance, absent)
        logged = {gfn for gfn in range(GFNS) if int(machine.words[log]) >> gfn & 1}
        assert logged == books.logged
        for gfn in range(GFNS):
            mapped = sorted(i for i, e in books.entries.items() if e.gfn == gfn and e.mapped)
            assert sorted(machine.ring(gfn)) == mapped
        for index, entry in books.entries.items():
            assert machine.guest_view(index) & (R | C) == entry.view, index
            if entry.mapped:
                assert machine.hpte(index)[1] & (R | C) == books.bits(entry)
    assert machine.audited() == 0


def step(machine: HashMachine, books: Books, chance: random.Random, absent: set[int]) -> None:
    """One random operation, on both. Virtual page ``p`` is entered at ``8 * p``: its group."""
    index, gfn = 8 * chance.randrange(16), chance.randrange(GFNS)
    entry = books.entries.get(index)
    match chance.choice(["enter", "enter", "remove", "walk", "walk", "clear", "age", "unmap",
                         "protect", "harvest"]):  # fmt: skip
        case "enter" if entry is None:
            bits = chance.choice([RO, RW]) | chance.choice([0, R, R | C])
            assert machine.enter(index >> 3, gfn, bits, index) == index
            books.enter(index, gfn, bits, there=gfn not in absent)
        case "remove" if entry:
            books.leave(entry)
            assert machine.remove(index)[2] & (R | C) == entry.view
            del books.entries[index]
        case "walk":
            write = chance.randrange(2)
            walk(machine, index, write, books)
        case "clear" if entry:
            _, seen = machine("kvmppc_h_clear_ref", machine.kvm, index)  # type: ignore[misc]
            assert seen & (R | C) == entry.view | books.bits(entry) * entry.mapped
            entry.view &= ~R
            if entry.r:
                books.kept[entry.gfn] = books.kept.get(entry.gfn, 0) | R
                entry.r = False
        case "age":
            assert machine("kvm_test_age_rmapp", machine.kvm, gfn) == (
                bool(books.kept.get(gfn, 0) & R) or any(e.r for e in books.of(gfn))
            )
            assert machine.age(gfn) == books.age(gfn)
        case "unmap":
            machine("kvm_unmap_rmapp", machine.kvm, gfn)
            for other in books.of(gfn):
                books.leave(other)
        case "protect" if entry:
            assert machine("kvmppc_h_protect", machine.kvm, RO, index, 0) == 0
            entry.writable = False
        case "harvest":
            found = machine("kvm_hpt_test_clear_dirty", machine.kvm, gfn)
            assert found == any(e.c for e in books.of(gfn))
            books.kept[gfn] = books.kept.get(gfn, 0) & ~C
            for other in books.of(gfn):
                other.view |= C if other.c else 0
                other.c = False
        case _:
            pass


def walk(machine: HashMachine, index: int, write: int, books: Books) -> None:
    """The hardware, on both."""
    entry = books.entries.get(index)
    allowed = entry is not None and entry.mapped and (entry.writable or not write)
    pfn = machine.walk(index >> 3, write)
    assert pfn == (PFN + entry.gfn if entry and allowed else 0)
    if entry and allowed:
        entry.r = True
        entry.c |= bool(write)
