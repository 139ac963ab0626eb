"""What real kernels were seen to do, and what KVM's own rules say, one test each.

The first five were seen on Debian kernels 6.1 to 7.3 (x86, POWER9, POWER10, arm64) with a
real guest, page by page.
"""

from __future__ import annotations

import pytest
from kvm_machine import N_GFNS, C, Machine, R, Second, W, built

from mkold.kvm.powerpc.asm.kvm_host import KVMPPC_SECURE_INIT_DONE, Kvm, Vcpu
from mkold.kvm.types import RESUME_HOST
from mkold.mm.mmu_notifier import (
    MMU_NOTIFIER_RANGE_LOCKLESS,
    MMU_NOTIFIER_RANGE_YOUNG,
    MmuNotifierOps,
)
from mkold.mm.slab import KmemCache


@pytest.fixture
def machine() -> Machine:
    return Machine(built(guest=True))


def touch(machine: Machine, gfn: int, write: int = 0) -> int:
    """One access of vCPU 0, which is in guest mode; the frame."""
    pfn = machine("kvm_vcpu_access", machine.kvm, machine.vcpus[0], gfn, write)
    assert isinstance(pfn, int)
    return pfn


def enter(machine: Machine) -> None:
    assert machine("kvm_vcpu_load", machine.kvm, machine.vcpus[0]) == 0


def leave(machine: Machine) -> None:
    machine("kvm_vcpu_put", machine.vcpus[0])


def test_clear_young_does_not_flush_the_tlb(machine: Machine) -> None:
    machine.create(3, 64)
    enter(machine)
    assert touch(machine, 3) == 64
    assert machine.young(3, 4, 1)
    assert touch(machine, 3) == 64, "the TLB still knows the page"
    assert not machine.young(3, 4, 0), "so the access left no mark"


def test_clear_flush_young_makes_the_next_access_visible(machine: Machine) -> None:
    machine.create(3, 64)
    enter(machine)
    touch(machine, 3)
    leave(machine)
    assert machine("mmu_notifier_clear_flush_young", machine.mm, machine.hva + 3,
                   machine.hva + 4) == 1  # fmt: skip
    enter(machine)
    touch(machine, 3)
    assert machine.young(3, 4, 0)


def test_a_tlb_entry_that_was_displaced_marks_again(machine: Machine) -> None:
    machine.create(3, 64)
    machine.create(3 + 16, 80)  # the same TLB entry
    enter(machine)
    touch(machine, 3)
    machine.young(0, N_GFNS, 1)
    touch(machine, 19)
    touch(machine, 3)
    assert machine.young(3, 4, 0)


def test_one_accessed_bit_for_a_huge_page(machine: Machine) -> None:
    """Touch one page each of two large mappings: every page tests young, one by one;
    clearing page by page finds two."""
    machine.create(0, 64, 1, 0)
    machine.create(4, 68, 1, 0)
    enter(machine)
    touch(machine, 1)
    touch(machine, 6)
    assert [bool(machine.young(gfn, gfn + 1, 0)) for gfn in range(8)] == [True] * 8
    assert sum(bool(machine.young(gfn, gfn + 1, 1)) for gfn in range(8)) == 2


def test_change_of_frame_takes_the_accessed_bit_along(machine: Machine) -> None:
    """A write to the shared zero page: the entry is zapped, its accessed bit with it."""
    machine.create(5, 64)
    machine("mmu_notifier_change_pte", machine.mm, machine.hva + 5, 99)
    assert machine.state() == {}
    assert not machine.young(5, 6, 0)


def test_invalidate_drops_the_range_and_no_more(machine: Machine) -> None:
    for gfn in range(8):
        machine.create(gfn, 64 + gfn)
    machine("mmu_notifier_invalidate_range_start", machine.mm, machine.hva + 2,
            machine.hva + 5)  # fmt: skip
    assert {gfn for _, gfn in machine.state()} == {0, 1, 5, 6, 7}


def test_invalidating_one_page_drops_the_huge_mapping(machine: Machine) -> None:
    machine.create(4, 68, 1)
    machine("mmu_notifier_invalidate_range_start", machine.mm, machine.hva + 6,
            machine.hva + 7)  # fmt: skip
    assert machine.state() == {}


@pytest.mark.slow
@pytest.mark.parametrize(("write", "bits"), [(0, R), (1, R | C)])
def test_hardware_sets_r_and_c(machine: Machine, write: int, bits: int) -> None:
    machine.create(7, 64, 0, W)
    enter(machine)
    assert touch(machine, 7, write) == 64
    assert machine.state()[0, 7] & (R | C) == bits


def test_first_write_after_a_read_sets_c(machine: Machine) -> None:
    machine.create(7, 64, 0, W)
    enter(machine)
    touch(machine, 7, 0)
    touch(machine, 7, 1)
    assert machine.state()[0, 7] & C


def test_a_huge_page_translates_each_of_its_pages(machine: Machine) -> None:
    machine.create(16, 96, 2)
    enter(machine)
    assert [touch(machine, gfn) for gfn in range(16, 32)] == list(range(96, 112))


@pytest.mark.parametrize(("write", "bits"), [(0, R), (1, R | C)])
def test_a_machine_that_cannot_set_r_and_c_faults(write: int, bits: int) -> None:
    machine = Machine(built(guest=True, HW_SETS_RC=0))
    machine.create(7, 64, 0, W)
    enter(machine)
    assert touch(machine, 7, write) == 64
    assert machine.state()[0, 7] & (R | C) == bits
    assert machine.word(machine.vcpus[0] + Vcpu.offset("stat") + 1) == 1, "one fault"


def test_large_leaves_need_room_and_alignment() -> None:
    """The level of a fault: as large as the memory allows, the slot holds, and the two
    addresses are aligned alike for."""

    def level(base: int, n: int, hva: int, gfn: int, largest: int = 2) -> object:
        machine = Machine(built(guest=True), slots=((base, n, hva),))
        machine("kvm_memslot_set_level", machine.kvm, 0, largest)
        return machine("fault_level", machine.slot(), gfn)

    assert level(0, 64, 1024, 17) == 2
    assert level(0, 64, 1024, 17, largest=1) == 1
    assert level(0, 64, 1024, 17, largest=0) == 0
    assert level(0, 64, 1024 + 4, 17) == 1, "aligned alike for 4 pages only"
    assert level(0, 64, 1024 + 1, 17) == 0
    assert level(18, 46, 1024 + 18, 30) == 1, "the slot starts inside the 16 pages"
    assert level(18, 46, 1024 + 18, 19) == 0
    assert level(0, 30, 1024, 29) == 0


def test_all_tables_come_back(machine: Machine) -> None:
    for gfn in range(0, N_GFNS, 3):
        machine.create(gfn, 64 + gfn)
    for gfn in range(0, N_GFNS, 32):
        machine.create(gfn, 64 + gfn, 1)
    machine.create(64, 128, 2)
    machine("kvmhv_configure_mmu", machine.kvm, 0)
    machine("kvmhv_configure_mmu", machine.kvm, 1)
    machine.create(5, 69)
    machine("kvm_destroy_vm", machine.kvm)
    machine("rcu_do_batch")
    for level in range(4):
        cache = machine.kvm + Kvm.layout.field("arch.caches").offset + level * KmemCache.size
        made = machine.word(cache, KmemCache, "nr_objects")
        assert made
        assert machine("kmem_cache_nr_free", cache) == made


def test_no_memory_there_is_no_frame(machine: Machine) -> None:
    vcpu = machine.vcpus[0]
    assert machine("kvmppc_book3s_radix_page_fault", machine.kvm, vcpu, N_GFNS, 0) == (
        RESUME_HOST
    )
    assert machine.word(vcpu + Vcpu.offset("stat") + 1) == 1


# The gate, and what the fast path leaves to the slow one.


def test_secure_guest_is_never_young(machine: Machine) -> None:
    machine.create(1, 64)
    machine.words[machine.arch("secure_guest")] = KVMPPC_SECURE_INIT_DONE
    assert machine.young(0, N_GFNS, 1) == 0
    assert machine("mmu_notifier_clear_young", machine.mm, machine.hva, machine.hva + 9) == 0
    assert machine.state()[0, 1] & R


def test_nested_guests_need_the_slow_path(machine: Machine) -> None:
    machine.create(1, 64)
    machine.words[machine.arch("nested_guests")] = 1
    bitmap = machine.new(2)
    assert machine.young(0, N_GFNS, 0, bitmap) == 0, "with a bitmap there is no slow path"
    assert machine.words[bitmap] == 0
    assert machine.young(0, N_GFNS, 1) == MMU_NOTIFIER_RANGE_YOUNG
    assert machine.young(0, N_GFNS, 0) == 0


def test_hash_mode_refuses_and_is_not_young(machine: Machine) -> None:
    machine.create(1, 64)
    assert machine("kvmhv_configure_mmu", machine.kvm, 0) == 0
    assert machine("kvm_test_clear_young_hv", machine.kvm, 0, 8, 1, 0, 7) == (1, 0)
    assert machine.young(0, N_GFNS, 0) == 0
    assert machine("kvmhv_configure_mmu", machine.kvm, 1) == 0
    assert machine.state() == {}
    machine.create(1, 64)
    assert machine.young(0, N_GFNS, 0) == MMU_NOTIFIER_RANGE_LOCKLESS


def test_without_the_capability_the_slow_path_answers() -> None:
    machine = Machine(built(CPU_FTR_ARCH_300=0))
    machine.create(1, 64)
    assert machine.young(0, N_GFNS, 0) == MMU_NOTIFIER_RANGE_YOUNG
    assert machine.young(0, N_GFNS, 0, machine.new(2)) == 0


# Faults against invalidation.


def test_a_fault_that_began_before_an_invalidation_tries_again(machine: Machine) -> None:
    seq = machine.word(machine.kvm, name="mmu_invalidate_seq")
    pte = 3 << 62 | 64 << 12 | R
    span = (machine.mm, machine.hva + 2, machine.hva + 3)

    def install(gfn: int) -> object:
        return machine("kvmppc_create_pte", machine.kvm, gfn, pte, 0, seq,
                       machine.hva + gfn, machine.waits)  # fmt: skip

    machine("mmu_notifier_invalidate_range_start", *span)
    assert install(2) == 11, "in the range, while it lasts"
    assert install(3) == 0, "outside the range, while it lasts"
    machine("mmu_notifier_invalidate_range_end", *span)
    assert install(2) == 11, "the frame was looked up before the end"
    assert machine.create(2, 64) == 0


def test_a_huge_leaf_minds_all_its_pages(machine: Machine) -> None:
    machine("mmu_notifier_invalidate_range_start", machine.mm, machine.hva + 6,
            machine.hva + 7)  # fmt: skip
    assert machine.create(4, 68, 1) == 11


# Dirty log.


def test_dirty_log_reports_each_write_once(machine: Machine) -> None:
    log, bitmap = machine.new(2), machine.new(2)
    machine("kvm_memslot_set_dirty_bitmap", machine.kvm, 0, bitmap)
    for gfn in (1, 2, 70):
        machine.create(gfn, 64 + gfn, 0, W)
    enter(machine)
    touch(machine, 2, 1)
    touch(machine, 70, 1)
    touch(machine, 1, 0)
    leave(machine)

    def read_log() -> int:
        assert machine("kvmppc_hv_get_dirty_log_radix", machine.kvm, machine.slot(), log) == 0
        return int(machine.words[log]) | int(machine.words[log + 1]) << 64

    assert read_log() == 1 << 2 | 1 << 70
    assert read_log() == 0
    enter(machine)
    touch(machine, 2, 1)
    leave(machine)
    assert read_log() == 1 << 2, "the flush made the next write visible"


def test_unmapping_keeps_the_dirty_bit_in_the_log(machine: Machine) -> None:
    log, bitmap = machine.new(2), machine.new(2)
    machine("kvm_memslot_set_dirty_bitmap", machine.kvm, 0, bitmap)
    machine.create(4, 68, 1, W | C)
    machine("mmu_notifier_change_pte", machine.mm, machine.hva + 5, 0)
    assert machine("kvmppc_hv_get_dirty_log_radix", machine.kvm, machine.slot(), log) == 0
    assert machine.words[log] == 0xF0


def test_a_second_subscriber_is_asked_too(machine: Machine) -> None:
    """It came later, so it is asked first; a test ends with the first young answer."""
    second = machine.new(Second.size)
    machine("second_subscribes", second, machine.new(MmuNotifierOps.size), machine.mm)
    assert machine.create(3, 70) == 0
    assert machine.young(3, 4, 0) == MMU_NOTIFIER_RANGE_LOCKLESS
    machine.words[second + Second.offset("answer")] = MMU_NOTIFIER_RANGE_YOUNG
    assert machine.young(3, 4, 0) == MMU_NOTIFIER_RANGE_YOUNG
    both = MMU_NOTIFIER_RANGE_YOUNG | MMU_NOTIFIER_RANGE_LOCKLESS
    assert machine.young(3, 4, 1) == both
    assert machine.young(3, 4, 1) == MMU_NOTIFIER_RANGE_YOUNG
    assert machine.word(second, Second, "asked") == 4
    machine("mmu_notifier_clear_young", machine.mm, machine.hva, machine.hva + 8)  # no member
