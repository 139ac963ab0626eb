"""What L1 does to its guest's memory while the guest runs, in kernel Python."""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.nested.l1 import L2_LPID, l1_entry, l1_write
from mkold.kvm.powerpc.nested.tlbie import (
    RIC_ALL,
    RIC_TLB,
    kvmhv_emulate_tlbie_all_lpid,
    kvmhv_emulate_tlbie_lpid,
    kvmhv_emulate_tlbie_tlb_addr,
)
from mkold.kvm.vcpu import kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import Ptr, kernel, u64
from mkold.mm.mm_types import PAGE_SHIFT


@kernel
def l1_sets(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], tables: u64, page: u64, n_pages: u64, entry: u64
) -> u64:
    """L1 writes ``entry`` for page ``page`` of L2's; the lowest level ends its ``tables``."""
    mask = (1 << PAGE_SHIFT) - 1
    lowest = tables - ((n_pages + mask) >> PAGE_SHIFT)
    if kvm_vcpu_load(kvm, vcpu):
        return 1
    failed = l1_write(kvm, vcpu, lowest + (page >> PAGE_SHIFT), page & mask, entry)
    kvm_vcpu_put(vcpu)
    return failed


@kernel
def l1_invalidates(kvm: Ptr[Kvm], page: u64, how: u64) -> None:
    """One of L1's ways to say so, by ``how`` (0 to 15)."""
    if how == 0:
        kvmhv_emulate_tlbie_lpid(kvm, L2_LPID, RIC_TLB)
    elif how == 1:
        kvmhv_emulate_tlbie_lpid(kvm, L2_LPID, RIC_ALL)
    elif how == 2:
        kvmhv_emulate_tlbie_all_lpid(kvm, RIC_ALL)
    elif how < 8:
        kvmhv_emulate_tlbie_tlb_addr(kvm, L2_LPID, page & ~15, 16)
    else:
        kvmhv_emulate_tlbie_tlb_addr(kvm, L2_LPID, page, 1)


@kernel
def l1_churns(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], tables: u64, n_pages: u64, seed: u64, n: u64
) -> u64:
    """``n`` times: take a page from L2, say so, give it back; 1 if there was no memory."""
    chance = seed
    for _ in range(n):
        chance = chance * 6364136223846793005 + 1442695040888963407
        page = (chance >> 33) % n_pages
        entry = l1_entry(tables + page, 1)
        if l1_sets(kvm, vcpu, tables, page, n_pages, 0):
            return 1
        l1_invalidates(kvm, page, (chance >> 24) & 15)
        if l1_sets(kvm, vcpu, tables, page, n_pages, entry):
            return 1
    return 0
