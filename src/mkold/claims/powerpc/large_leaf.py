"""A large leaf of the guest and the memslot that it is of: claim 54."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup
from mkold.claims.powerpc.faults import OLD_PFN, host_word
from mkold.claims.powerpc.small_vm import N_PAGES, PRESENT, SMALL, make_vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.powerpc.radix.pte import _PAGE_PTE
from mkold.kvm.types import MemorySlot
from mkold.lang import Ptr, kernel, u64
from mkold.mm.mm_types import Mm

RADIX = "arch/powerpc/kvm/book3s_64_mmu_radix.c"
SLOT_PAGES = Kvm.layout.field("slots").offset + MemorySlot.offset("npages")
LAST = N_PAGES - 2  # the first page of the last large one


@kernel
def huge_entry(mm: Ptr[Mm], hva: u64) -> u64:
    """Stands for ``host_pfn_mapping_level``: the process maps two pages by one entry."""
    return 1


def fault_at_the_slots_end(m: Setup) -> None:
    """The slot ends inside of a large page of the process; the guest reads its last page."""
    vm = make_vm(m)
    m.poke(vm.kvm + SLOT_PAGES, N_PAGES - 1)
    vm.map(LAST - 2, level=1)  # so that the table is there
    entry = vm.entry(LAST - 2) + 1
    m.watch("pmd", entry)
    m.poke(vm.kvm + Kvm.offset("mm"), m.words(1, "host_page", value=OLD_PFN))
    m.thread("vcpu", (kvmppc_book3s_radix_page_fault, vm.kvm, m.new(Vcpu, "vcpu"), LAST, 0))

    def beyond(end: End) -> bool:
        leaf = PRESENT | _PAGE_PTE
        return end["pmd"] & leaf == leaf

    m.never(
        "past-the-slot",
        beyond,
        f"The leaf of page {LAST} maps page {LAST + 1} too, which is no page of the memslot: "
        "when it goes, the reverse map is read beyond its end.",
    )
    m.never(
        "unmapped",
        lambda end: not end["pmd"] & PRESENT,
        "The fault maps nothing.",
    )


AT_THE_END = Scenario(
    "fault-at-the-end-of-a-slot",
    fault_at_the_slots_end,
    SMALL | {"TRANSPARENT_HUGEPAGE": 1},
    stand_ins={"hva_to_pfn": host_word, "host_pfn_mapping_level": huge_entry},
)

CLAIMS = [
    Claim(
        "54-leaf-in-its-slot",
        "A leaf of the guest's tree maps no page beside the memslot it was made for.",
        f"{RADIX} (kvmppc_book3s_instantiate_page); seen on Linux 6.12.95",
        (
            Case("as in Linux", AT_THE_END),
            Case(
                "the slot's bounds are asked",
                AT_THE_END,
                (Set("LEAF_IN_SLOT", 1),),
                decides=False,
            ),
        ),
    ),
]
