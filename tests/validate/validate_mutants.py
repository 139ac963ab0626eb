"""Seeded faults of mkold's system: a build parameter, an edit, or a function in the place of
another. Whether each is noticed is for the comparison to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mkold.ir.definition import Definition
from mkold.ir.module import collect
from mkold.ir.nodes import Function
from mkold.ir.variant import Edit, Set, Skip, apply
from mkold.kvm.notifier import kvm_test_clear_young_slow
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.kvm.powerpc.radix.age import age_run
from mkold.kvm.powerpc.radix.dirty import leaf_is_dirty
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_EXEC,
    _PAGE_READ,
    _PAGE_WRITE,
    pte_young,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.unmap import kvmppc_update_dirty_map
from mkold.kvm.powerpc.radix.walk import find_kvm_secondary_pte
from mkold.kvm.types import MemorySlot
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, u64
from mkold.mm.fault.madvise import zap_pte
from mkold.mm.fault.memory import (
    PTE_YOUNG_READ,
    PTE_YOUNG_WRITE,
    alloc_zeroed_or_reclaim,
    faultin_page,
    install_pte,
)
from mkold.mm.list import list_add_tail, list_del, list_empty
from mkold.mm.mglru.generations import (
    folio_inc_gen,
    inc_max_seq,
    lru_gen_from_seq,
)
from mkold.mm.mm_types import (
    NO_INDEX,
    PTE_ACCESSED,
    PTE_PFN_SHIFT,
    Folio,
    LruGen,
    Mm,
    Node,
)
from mkold.mm.mmu_notifier import MmuNotifier
from mkold.mm.pgtable import pte_offset, set_pte
from mkold.mm.rmap import folio_pfn
from mkold.mm.swap import make_swap_pte, swap_writepage

EVICTIONS = "x86-6.12-evict"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: what is wrong, and how it is made. ``way``: which of the two shows it;
    ``recording``: which kernel's answers do."""

    what: str
    edits: tuple[Edit, ...] = ()
    stand_in: tuple[str, Definition] | None = None
    way: str = "locked"
    recording: str = "power9-6.12"

    def edit(
        self, functions: Mapping[str, Function], values: Mapping[str, int]
    ) -> Mapping[str, Function]:
        """The system's functions with the fault."""
        changed = dict(functions)
        if self.stand_in:
            name, definition = self.stand_in
            module = collect([definition], hooks=powerpc.hooks)
            changed = {**module.functions, **changed}
            own = module.functions[module.name_of(definition)]
            changed[name] = replace(own, name=name)
            changed.pop(module.name_of(definition))
        return apply(changed, values, self.edits)


@kernel
def cow_without_notice(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> bool:
    """``do_cow_zero_page``, of which the guest's table does not hear."""
    pfn = alloc_zeroed_or_reclaim(mm)
    seen = READ_ONCE(ptep.value)
    install_pte(mm, page, ptep, seen, pfn, PTE_YOUNG_WRITE)
    return True


@kernel
def age_without_clearing(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """``kvm_age_radix`` that looks only."""
    ptep, _shift = find_kvm_secondary_pte(kvm, gfn)
    return ptep != NULL and pte_young(READ_ONCE(ptep.value))


@kernel
def test_that_clears(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """``kvm_test_age_radix`` that clears."""
    ptep, _shift = find_kvm_secondary_pte(kvm, gfn)
    if ptep == NULL or not pte_young(READ_ONCE(ptep.value)):
        return 0
    kvmppc_radix_update_pte(ptep, _PAGE_ACCESSED, 0)
    return 1


@kernel
def host_bit_stays(ptep: Ptr[u64]) -> bool:
    """``__ptep_test_and_clear_young`` that looks only."""
    return (READ_ONCE(ptep.value) & PTE_ACCESSED) != 0


@kernel
def one_page_less(slot: Ptr[MemorySlot], start: u64, end: u64) -> tuple[u64, u64]:
    """``hva_range_in_slot`` that forgets the last page of two or more."""
    first = max(start, slot.userspace_addr)
    last = min(end, slot.userspace_addr + slot.npages)
    if first >= last:
        return 0, 0
    offset = slot.base_gfn - slot.userspace_addr
    less: u64 = 1 if last - first > 1 else 0
    return first + offset, last + offset - less


@kernel
def one_page_more(slot: Ptr[MemorySlot], start: u64, end: u64) -> tuple[u64, u64]:
    """``hva_range_in_slot`` that takes one page more, where there is one."""
    first = max(start, slot.userspace_addr)
    last = min(end + 1, slot.userspace_addr + slot.npages)
    if first >= last:
        return 0, 0
    offset = slot.base_gfn - slot.userspace_addr
    return first + offset, last + offset


@kernel
def bitmap_lacks_a_bit(bitmap: Ptr[u64], bit: u64, clear: u64) -> u64:
    """``kvm_should_clear_young`` that never notes the last page."""
    if bitmap == NULL:
        return clear
    if clear:
        return (bitmap[bit >> 6] >> (bit & 63)) & 1
    if bit:
        bitmap[bit >> 6] |= 1 << (bit & 63)
    return 0


@kernel
def bitmap_shifted(bitmap: Ptr[u64], bit: u64, clear: u64) -> u64:
    """``kvm_should_clear_young`` that notes the page before."""
    if bitmap == NULL:
        return clear
    if clear:
        return (bitmap[bit >> 6] >> (bit & 63)) & 1
    bitmap[0] |= 1 << ((bit + 1) & 63)
    return 0


@kernel
def age_one_less(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_table``, one entry short."""
    return age_run(ptep, n - 1, clear, bitmap, bit)


@kernel
def zero_page_not_young(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> bool:
    """``do_map_zero_page`` whose entry begins without the accessed bit."""
    entry = (PTE_YOUNG_READ & ~PTE_ACCESSED) | (mm.node.zero_pfn << PTE_PFN_SHIFT)
    set_pte(ptep, entry)
    return True


@kernel
def frame_for_a_read(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> bool:
    """``do_map_zero_page`` that gives the page a frame of its own."""
    pfn = alloc_zeroed_or_reclaim(mm)
    install_pte(mm, page, ptep, 0, pfn, PTE_YOUNG_WRITE)
    return True


@kernel
def unmap_without_notice(node: Ptr[Node], mm: Ptr[Mm], folio: Ptr[Folio]) -> bool:
    """``try_to_unmap``, of which the guest's table does not hear."""
    page = READ_ONCE(folio.index)
    swap_writepage(mm, page, folio_pfn(node, folio))
    set_pte(pte_offset(mm, page), make_swap_pte(READ_ONCE(node.lrugen.min_seq), 0, 0))
    WRITE_ONCE(folio.index, NO_INDEX)
    return True


@kernel
def pass_opens_two(mm: Ptr[Mm], max_seq: u64, force_scan: u64) -> bool:
    """``try_to_inc_max_seq`` that opens two generations."""
    inc_max_seq(addr(mm.node.lrugen), max_seq)
    return inc_max_seq(addr(mm.node.lrugen), max_seq + 1)


@kernel
def oldest_not_merged(lrugen: Ptr[LruGen]) -> bool:
    """``inc_min_seq`` that leaves its folios where they are."""
    WRITE_ONCE(lrugen.min_seq, lrugen.min_seq + 1)
    return True


@kernel
def new_is_second_youngest(lrugen: Ptr[LruGen], flags: u64, in_swapcache: u64) -> u64:
    """``lru_gen_folio_seq`` that names the generation before."""
    return lrugen.max_seq - 1


@kernel
def merged_in_order(lrugen: Ptr[LruGen]) -> bool:
    """``inc_min_seq`` that keeps the order of what it merges."""
    gen = lru_gen_from_seq(lrugen.min_seq)
    while not list_empty(addr(lrugen.lists[gen])):
        folio = cast(Ptr[Folio], lrugen.lists[gen].next)
        new_gen = folio_inc_gen(lrugen, folio)
        list_del(addr(folio.lru))
        list_add_tail(addr(folio.lru), addr(lrugen.lists[new_gen]))
    WRITE_ONCE(lrugen.min_seq, lrugen.min_seq + 1)
    return True


@kernel
def flush_that_only_tests(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    """``kvm_mmu_notifier_clear_flush_young`` that clears nothing."""
    return kvm_test_clear_young_slow(cast(Ptr[Kvm], notifier), start, end, 0)


@kernel
def drop_one_more(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """``madvise_dontneed`` of one page more, and of the guest's table nothing."""
    for page in range(start, min(end + 1, mm.vma_start + mm.vma_pages)):
        ptep = pte_offset(mm, page)
        if ptep != NULL:
            zap_pte(mm, page, ptep)


@kernel
def clean_until_written(write: u64, writable: u64) -> u64:
    """``leaf_bits`` without C."""
    bits = _PAGE_READ | _PAGE_EXEC | _PAGE_ACCESSED
    return bits | (_PAGE_WRITE if writable else 0)


@kernel
def log_taken_by_looking(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """``kvm_radix_test_clear_dirty`` that leaves C as it is."""
    ptep, shift = find_kvm_secondary_pte(kvm, gfn)
    if not leaf_is_dirty(ptep):
        return 0
    kvmppc_update_dirty_map(kvm, gfn, 1 << shift)
    return 1 << shift


@kernel
def slow_that_marks_nothing(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """``hva_to_pfn_slow`` whose fault is no use of the page."""
    pfn, writable = faultin_page(mm, page, write)
    return pfn, writable


MUTANTS = (
    Mutant("unmapping does nothing", (Skip("kvm_unmap_radix"),)),
    Mutant("invalidations are not heard", (Skip("kvm_unmap_hva_range"),)),
    Mutant(
        "the zero page's entry stays in the guest's table",
        stand_in=("do_cow_zero_page", cow_without_notice),
    ),
    Mutant("the process's entry stays", (Skip("zap_pte"),)),
    Mutant("one page too many is dropped", stand_in=("madvise_dontneed", drop_one_more)),
    Mutant("the lockless pass clears nothing", (Skip("pte_clear_young"),), way="lockless"),
    Mutant("the slow path clears nothing", stand_in=("kvm_age_radix", age_without_clearing)),
    Mutant("a test clears", stand_in=("kvm_test_age_radix", test_that_clears)),
    Mutant(
        "the process's own bit stays", stand_in=("__ptep_test_and_clear_young", host_bit_stays)
    ),
    Mutant("a range lacks its last page", stand_in=("hva_range_in_slot", one_page_less)),
    Mutant("a range has one page more", stand_in=("hva_range_in_slot", one_page_more)),
    Mutant(
        "the bitmap lacks a bit",
        stand_in=("kvm_should_clear_young", bitmap_lacks_a_bit),
        way="lockless",
    ),
    Mutant(
        "the bitmap is shifted",
        stand_in=("kvm_should_clear_young", bitmap_shifted),
        way="lockless",
    ),
    Mutant("a table lacks an entry", stand_in=("age_table", age_one_less), way="lockless"),
    Mutant("a fault leaves no bit", stand_in=("do_map_zero_page", zero_page_not_young)),
    Mutant("a read gets a frame of its own", stand_in=("do_map_zero_page", frame_for_a_read)),
    Mutant(
        "swap-out leaves the guest's entry", stand_in=("try_to_unmap", unmap_without_notice)
    ),
    Mutant("a pass opens no generation", (Skip("inc_max_seq"),)),
    Mutant("a pass opens two generations", stand_in=("try_to_inc_max_seq", pass_opens_two)),
    Mutant("the oldest is not merged", stand_in=("inc_min_seq", oldest_not_merged)),
    Mutant(
        "a new page is second youngest", stand_in=("lru_gen_folio_seq", new_is_second_youngest)
    ),
    Mutant(
        "merging keeps the order",
        stand_in=("inc_min_seq", merged_in_order),
        recording=EVICTIONS,
    ),
    Mutant("eviction looks not around", (Skip("lru_gen_look_around"),), recording=EVICTIONS),
    Mutant("eviction asks not who was used", (Skip("folio_referenced"),), recording=EVICTIONS),
    Mutant(
        "a forced pass does not walk on POWER, Linux 6.1",
        (Set("MGLRU_FORCED_WALK", 0),),
        recording="power9-6.1",
    ),
    Mutant(
        "the batch of what is added never fills, Linux 7.2",
        (Skip("lru_add_batch"),),
        recording="x86-7.2-batch",
    ),
    Mutant(
        "clear_flush_young clears nothing",
        stand_in=("kvm_mmu_notifier_clear_flush_young", flush_that_only_tests),
    ),
    Mutant(
        "a page that may be written is clean until it is",
        stand_in=("leaf_bits", clean_until_written),
        recording="power9-6.12-log",
    ),
    Mutant(
        "who takes the log looks only",
        stand_in=("kvm_radix_test_clear_dirty", log_taken_by_looking),
        recording="power9-6.12-log",
    ),
    Mutant(
        "a log begins with what is mapped",
        (Skip("kvmppc_radix_flush_memslot"),),
        recording="power9-6.12-log",
    ),
    Mutant(
        "a log begins, and nothing is protected",
        (Skip("clear_dirty_gfn_range"),),
        recording="x86-6.12-log",
    ),
    Mutant(
        "what is cleared of the log stays writable",
        (Skip("clear_dirty_pt_masked"),),
        recording="x86-6.12-log",
    ),
    Mutant(
        "what comes back from swap has no uses",
        (Set("MGLRU_KEEPS_REFS", 0),),
        recording="power9-6.12-evict",
    ),
    Mutant(
        "KVM marks once what it has mapped",
        (Set("KVM_FAULT_MARKS", 1),),
        recording="arm64-6.1-evict",
    ),
    Mutant(
        "KVM's fault is no use of its own",
        stand_in=("hva_to_pfn_slow", slow_that_marks_nothing),
        recording="arm64-6.1-evict",
    ),
    Mutant(
        "tables of the process are as large with pages of 64 KiB",
        (Set("PTE_TABLE_SHIFT", 9),),
        recording="power9-6.12-64k-evict",
    ),
    Mutant("back from swap read-only", (Set("SWAPIN_WRITABLE", 0),)),
    Mutant(
        "a copied page is not told of",
        (Set("COW_CHANGE_PTE", 0),),
        recording="arm64-6.1",
    ),
    Mutant("a range is aged as a whole", (Set("AGE_ONE_LEAF", 0),), recording="arm64-6.1"),
    Mutant("the aging pass walks on POWER", (Set("HW_PTE_YOUNG", 1),)),
)
