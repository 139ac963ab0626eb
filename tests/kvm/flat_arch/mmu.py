"""The hooks: the VM's life, unmapping, aging with and without the lock."""

from __future__ import annotations

from flat_arch.kvm_host import ACCESSED, FLAT_PAGES, Kvm, flat_entry, flat_young
from mkold.kvm.young import kvm_should_clear_young
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    atomic_fetch_andnot_relaxed,
    cast,
    kernel,
    u64,
    xchg,
)
from mkold.mm.page_alloc import memblock_alloc


@kernel
def kvm_arch_init() -> None:
    """Nothing to load."""


@kernel
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """An empty table."""
    table = cast(Ptr[u64], memblock_alloc(FLAT_PAGES))
    if table == NULL:
        return 1
    for i in range(FLAT_PAGES):
        table[i] = 0
    kvm.arch.table = table
    return 0


@kernel
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """The table's memory is never given back."""


@kernel
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """One entry after the other; the caller flushes, once."""
    flush = 0
    for at in range(gfn, end):
        flush |= xchg(flat_entry(kvm, at).value, 0) != 0
    return flush


@kernel
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The next fault maps the new frame."""
    return kvm_unmap_gfn_range(kvm, gfn, gfn + 1)


@kernel
def flat_clear_young(ptep: Ptr[u64]) -> u64:
    """Clear the accessed bit; whether it was set."""
    return flat_young(atomic_fetch_andnot_relaxed(ptep.value, ACCESSED))


@kernel
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    young = 0
    for at in range(gfn, end):
        young |= flat_clear_young(flat_entry(kvm, at))
    return young


@kernel
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    young = 0
    for at in range(gfn, end):
        young |= flat_young(READ_ONCE(flat_entry(kvm, at).value))
    return young


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    return 1


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """No table is ever freed, so no read section is needed."""
    young = 0
    for at in range(gfn, end):
        ptep = flat_entry(kvm, at)
        if flat_young(READ_ONCE(ptep.value)):
            young += 1
            if kvm_should_clear_young(bitmap, last_bit + (end - 1 - at), clear):
                flat_clear_young(ptep)
    return 0, young
