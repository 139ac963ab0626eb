"""Guests of the guest, step by step, with nobody else running."""

from __future__ import annotations

from functools import cache

import pytest
from run_traces import trace_of

from mkold.kvm.main import kvm_destroy_vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest, Vcpu
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.kvm.powerpc.nested.enter import kvmhv_exit_nested_guest
from mkold.kvm.powerpc.nested.l1 import l1_write
from mkold.kvm.powerpc.nested.tlbie import (
    RIC_ALL,
    RIC_TLB,
    kvmhv_emulate_tlbie_all_lpid,
    kvmhv_emulate_tlbie_lpid,
    kvmhv_emulate_tlbie_tlb_addr,
)
from mkold.kvm.powerpc.radix.walk import radix_walk
from mkold.kvm.types import KVM_PFN_ERR
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import Ptr, kernel, u64
from mkold.mm.mmu_notifier import (
    mmu_notifier_clear_young,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.native import Image, Memory, build
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import entries, parameters
from mkold.run.machine import Machine
from mkold.run.program import pack
from mkold.run.spec import MachineSpec
from mkold.sync.rcu import rcu_do_batch

SPEC = MachineSpec(vcpus=2, memory_share=1.0, nested=True, interval_s=3600.0)
PAGE = 5
R, C, PRESENT = 0x100, 0x80, 1 << 63


@kernel
def touch(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """One access of whoever runs on ``vcpu``: the frame."""
    if kvm_vcpu_load(kvm, vcpu):
        return KVM_PFN_ERR
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, write)
    kvm_vcpu_put(vcpu)
    return pfn


@kernel
def l1_stores(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, offset: u64, word: u64) -> u64:
    """L1 stores a word, on a vCPU of its own."""
    if kvm_vcpu_load(kvm, vcpu):
        return 1
    failed = l1_write(kvm, vcpu, gfn, offset, word)
    kvm_vcpu_put(vcpu)
    return failed


@cache
def image() -> Image:
    more = [
        touch, l1_stores, radix_walk, kvmhv_exit_nested_guest, kvmhv_emulate_tlbie_all_lpid,
        kvmhv_emulate_tlbie_lpid, kvmhv_emulate_tlbie_tlb_addr, mmu_notifier_clear_young,
        mmu_notifier_invalidate_range_start, mmu_notifier_invalidate_range_end, rcu_do_batch,
        kvm_destroy_vm,
    ]  # fmt: skip
    return build(
        [*entries(powerpc, powerpc.nesting), *more],
        parameters(SPEC),
        hooks=powerpc.hooks,
        checked=True,
        optimised=False,
    )


class Steps(Machine):
    """Two vCPUs, of which the first runs L2 and the second L1."""

    def __init__(self) -> None:
        rate = cycles_per_second(image(), Memory(1 << 16))
        program = pack(trace_of(list(range(40)), [0] * 40), SPEC.page_shift)
        super().__init__(image(), program, SPEC, "none", rate)
        self.l2, self.l1 = (vcpu.at for vcpu in self.vcpus)
        self.do("kvmhv_exit_nested_guest", self.l1)

    def do(self, name: str, *args: int) -> int:
        result = self.call(name, self.kvm.at, *args)
        return result if isinstance(result, int) else 0

    def kvm_arch(self, name: str, i: int = 0) -> int:
        return int(self.memory.words[self.kvm.at + Kvm.layout.field(f"arch.{name}").offset + i])

    def guest(self, number: int = 1) -> int:
        return self.kvm_arch("kvm_nested_guest_idr", number)

    def field(self, number: int, name: str) -> int:
        return int(self.memory.words[self.guest(number) + KvmNestedGuest.offset(name)])

    def l1_pte(self, page: int = PAGE) -> int:
        """L0's entry for L1's page of L2's ``page``."""
        return self._entry(self.kvm_arch("pgtable"), self.own_pages + page)

    def shadow(self, page: int = PAGE, number: int = 1) -> int:
        """L2's shadow entry."""
        return self._entry(self.field(number, "shadow_pgtable"), page)

    def _entry(self, root: int, gfn: int) -> int:
        found = self.call("radix_walk", root, gfn)
        assert isinstance(found, tuple)
        return found[1]

    def rmap(self, page: int = PAGE) -> list[int]:
        """The reverse map's entries for L1's page, first to last."""
        slot = self.kvm.at + Kvm.offset("slots")
        words = self.memory.words
        word = int(words[int(words[slot + 5]) + self.own_pages + page])
        found = []
        while word:
            if word & 1:
                return [*found, word & ~1]
            found.append(int(words[word + 1]))
            word = int(words[word])
        return found

    def hva(self, page: int = PAGE) -> int:
        return self.own_pages + page

    def second_guest(self) -> None:
        """L1 has a second guest, with the same table; its vCPU runs that."""
        root = self.field(1, "l1_gr_to_hr")
        assert self.do("l1_stores", self.l1, 0, 2, root) == 0
        assert self.do("kvmhv_enter_nested_guest", self.l1, 2) == 0


def entry(number: int, page: int = PAGE) -> int:
    return number << 52 | page << 12


def test_an_access_of_l2_is_in_both_trees_and_in_the_reverse_map() -> None:
    m = Steps()
    frame = m.do("touch", m.l2, PAGE, 1)
    assert m.shadow() & (R | C) == R | C
    assert m.l1_pte() & (R | C) == R | C
    assert m.shadow() >> 12 & 0xFFFFFF == m.l1_pte() >> 12 & 0xFFFFFF == frame
    assert m.rmap() == [entry(1)]
    assert m.do("touch", m.l1, m.own_pages + PAGE, 0) == frame
    assert audit(m) == []


def test_a_read_leaves_c_to_the_first_write() -> None:
    m = Steps()
    m.call("mmu_notifier_invalidate_range_start", m.mm.at, m.hva(), m.hva() + 1)
    m.call("mmu_notifier_invalidate_range_end", m.mm.at, m.hva(), m.hva() + 1)
    m.do("touch", m.l2, PAGE, 0)
    assert m.shadow() & (R | C) == R
    m.do("touch", m.l2, PAGE, 1)
    assert m.shadow() & (R | C) == R | C
    assert m.l1_pte() & (R | C) == R | C


def test_locked_aging_clears_both_and_the_next_access_sets_both() -> None:
    m = Steps()
    m.second_guest()
    for vcpu in (m.l2, m.l1):
        m.do("touch", vcpu, PAGE, 0)
    assert m.rmap() == [entry(2), entry(1)]
    assert m.call("mmu_notifier_clear_young", m.mm.at, m.hva(), m.hva() + 1)
    assert not (m.l1_pte() | m.shadow() | m.shadow(number=2)) & R
    assert not m.call("mmu_notifier_clear_young", m.mm.at, m.hva(), m.hva() + 1)
    m.do("touch", m.l2, PAGE, 0)
    assert m.l1_pte() & m.shadow() & R
    assert not m.shadow(number=2) & R
    assert m.rmap() == [entry(2), entry(1)]
    assert audit(m) == []


def test_when_the_hosts_page_goes_so_do_all_shadow_entries() -> None:
    m = Steps()
    m.second_guest()
    for vcpu in (m.l2, m.l1):
        m.do("touch", vcpu, PAGE, 0)
    m.call("mmu_notifier_invalidate_range_start", m.mm.at, m.hva(), m.hva() + 1)
    assert not (m.l1_pte() | m.shadow() | m.shadow(number=2)) & PRESENT
    assert m.rmap() == []
    m.call("mmu_notifier_invalidate_range_end", m.mm.at, m.hva(), m.hva() + 1)
    m.call("rcu_do_batch")  # the list's node
    assert audit(m) == []


def test_l1_takes_pages_back_one_by_one_and_all() -> None:
    m = Steps()
    for page in (PAGE, PAGE + 1, PAGE + 2):
        m.do("touch", m.l2, page, 0)
    m.do("kvmhv_emulate_tlbie_tlb_addr", 1, PAGE, 2)
    assert not (m.shadow(PAGE) | m.shadow(PAGE + 1)) & PRESENT
    assert m.shadow(PAGE + 2) & PRESENT
    assert m.rmap() == [entry(1)], "the reverse map is not looked at"
    m.do("kvmhv_emulate_tlbie_lpid", 1, RIC_TLB)
    assert not m.shadow(PAGE + 2) & PRESENT
    m.do("touch", m.l2, PAGE, 0)
    assert m.rmap() == [entry(1)], "an entry that was stale is not doubled"
    assert audit(m) == []


@pytest.mark.parametrize("call", ["kvmhv_emulate_tlbie_lpid", "kvmhv_emulate_tlbie_all_lpid"])
def test_a_guest_without_a_table_loses_its_number(call: str) -> None:
    m = Steps()
    before = m.guest()
    args = [1, RIC_ALL] if call == "kvmhv_emulate_tlbie_lpid" else [RIC_ALL]
    m.do(call, *args)
    assert m.guest() == before, "L1 still has a table for it"
    assert m.do("l1_stores", m.l1, 0, 1, 0) == 0
    m.do(call, *args)
    assert m.guest() == 0
    assert m.kvm_arch("nested_guests") == 1, "its vCPU still runs it"
    m.do("kvmhv_exit_nested_guest", m.l2)
    assert m.kvm_arch("nested_guests") == 0
    assert m.do("kvmhv_enter_nested_guest", m.l2, 1) == 1


@pytest.mark.parametrize("number", [0, 3, 8, 1 << 40])
def test_l1_has_no_such_guest(number: int) -> None:
    m = Steps()
    assert m.do("kvmhv_enter_nested_guest", m.l1, number) == 1
    assert m.kvm_arch("nested_guests") == 1


def test_leaving_radix_mode_ends_all_guests() -> None:
    m = Steps()
    m.do("touch", m.l2, PAGE, 0)
    m.do("kvmhv_exit_nested_guest", m.l2)
    assert m.do("kvm_vm_ioctl_configure_mmu", 0) == 0
    assert m.kvm_arch("nested_guests") == 0
    assert m.do("kvm_vm_ioctl_configure_mmu", 1) == 0
    assert m.rmap() == []
    assert m.do("kvmhv_enter_nested_guest", m.l2, 1) == 0
    m.do("touch", m.l2, PAGE, 0)
    assert audit(m) == []


def test_a_vcpu_in_l2_has_nothing_of_l1s_in_hash_mode() -> None:
    m = Steps()
    m.do("touch", m.l2, PAGE, 0)
    assert m.do("kvm_vm_ioctl_configure_mmu", 0) == 0
    assert m.do("touch", m.l1, PAGE, 0) < KVM_PFN_ERR  # so L1 has a page of that number
    assert m.do("touch", m.l2, PAGE, 0) == KVM_PFN_ERR, "it is given back to L1"
    m.do("kvmhv_exit_nested_guest", m.l2)
    assert m.do("kvmhv_enter_nested_guest", m.l2, 1) == 1, "which has no guests now"
    for page in range(20):
        m.do("touch", m.l1, page, 1)
    m.do("kvm_destroy_vm")  # the words of the reverse map are the hash table's


def test_the_audit_sees_what_is_wrong() -> None:
    """Each rule, broken by hand."""
    m = Steps()
    m.do("touch", m.l2, PAGE, 0)
    words = m.memory.words
    found = m.call("radix_walk", m.field(1, "shadow_pgtable"), PAGE)
    assert isinstance(found, tuple)
    shadow = found[0]
    found = m.call("radix_walk", m.kvm_arch("pgtable"), m.own_pages + PAGE)
    assert isinstance(found, tuple)
    l1 = found[0]
    slot = m.kvm.at + Kvm.offset("slots")
    rmapp = int(words[slot + 5]) + m.own_pages + PAGE
    refcnt = m.guest() + KvmNestedGuest.offset("refcnt")
    breaks = {12: (shadow, 1 << 12), 13: (l1, R), 14: (rmapp, 1 << 12), 16: (refcnt, 1)}
    for rule, (at, bits) in breaks.items():
        words[at] ^= bits
        assert audit(m) == [f"rule {rule} of powerpc's own audit is broken"]
        words[at] ^= bits
    assert audit(m) == []
