"""A host driven from Python, one call at a time: its page table, its LRU, one guest.

The machine is the one that ``mkold run`` uses, with more of its functions to call.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mkold.kvm.memslots import kvm_memslot_set_level
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.mm.fault.madvise import madvise_dontneed
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mglru.evict import shrink_node
from mkold.mm.mglru.generations import folio_lru_gen
from mkold.mm.mglru.walk import try_to_inc_max_seq
from mkold.mm.mm_types import (
    MAX_NR_GENS,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    Folio,
    VmEvents,
)
from mkold.mm.mmu_notifier import mmu_notifier_test_clear_young
from mkold.native import Image, build
from mkold.run.audit import host_entries
from mkold.run.image import entries, parameters
from mkold.run.machine import Machine
from mkold.run.program import Program
from mkold.run.spec import MachineSpec
from mkold.sync.rcu import rcu_pending

MORE = (
    kvm_flush_remote_tlbs, kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put, hva_to_pfn,
    shrink_node, try_to_inc_max_seq, mmu_notifier_test_clear_young, folio_lru_gen,
    madvise_dontneed, kvm_memslot_set_level,
    kvmppc_book3s_radix_page_fault, rcu_pending,
)  # fmt: skip
CYCLES_PER_S = 1e9


@cache
def image(page_size: str = "4k") -> Image:
    """The machine's code, checked: a read of POISON or a wild address is an error."""
    spec = MachineSpec(page_size=page_size)
    arch = spec.architecture
    return build(
        [*entries(arch), *MORE],
        parameters(spec),
        hooks=arch.hooks,
        checked=True,
        optimised=False,
    )


class Host:
    """``n_pages`` of guest memory, none of it touched yet."""

    def __init__(
        self, n_pages: int = 200, share: float = 1.0, path: str = "lockless", **spec: object
    ) -> None:
        pages = np.arange(n_pages, dtype=np.uint64)
        rows = (pages << np.uint64(32)) | np.uint64(1 << 1 | 1)
        program = Program(rows, rows[:0], n_pages)
        machine_spec = MachineSpec(memory_share=share, **spec)  # type: ignore[arg-type]
        code = image(machine_spec.page_size)
        self.machine = Machine(code, program, machine_spec, path, CYCLES_PER_S)
        self.node, self.mm = self.machine.node, self.machine.mm
        self.n_pages = n_pages

    def call(self, name: str, *args: int) -> int:
        """Run a function on the boot CPU; its first result, or 0."""
        result = self.machine.call(name, *args)
        return result[0] if isinstance(result, tuple) else (result or 0)

    def touch(self, page: int, write: int = 0) -> int:
        """One access of the guest; the frame."""
        kvm, vcpu, memory = self.machine.kvm.at, self.machine.vcpus[0].at, self.machine.memory
        call = self.machine.image.call
        assert call("kvm_vcpu_load", memory, 0, kvm, vcpu) == 0
        pfn = call("kvm_vcpu_access", memory, 0, kvm, vcpu, page, write)
        call("kvm_vcpu_put", memory, 0, vcpu)
        assert isinstance(pfn, int)
        return pfn

    def flush(self) -> None:
        """Empty the guest's TLB, so that the next access walks the tables."""
        self.call("kvm_flush_remote_tlbs", self.machine.kvm.at)

    def age(self) -> None:
        """One aging pass over everything."""
        max_seq = self.node["lrugen.max_seq"]
        assert self.call("try_to_inc_max_seq", self.mm.at, max_seq, 1) == 1

    def evict(self, n: int) -> int:
        """Free about ``n`` frames."""
        return self.call("shrink_node", self.node.at, self.mm.at, n)

    def entry(self, page: int) -> int:
        """The host's own page-table entry."""
        return int(host_entries(self.machine)[page])

    def present(self) -> set[int]:
        """Pages in memory."""
        entries = host_entries(self.machine)
        return set(np.flatnonzero(entries & np.uint64(PTE_PRESENT)).tolist())

    def guest_young(self, page: int) -> bool:
        """The secondary entry's accessed bit."""
        at = self.mm.at
        return self.call("mmu_notifier_test_clear_young", at, page, page + 1, 0, 0) != 0

    def folio(self, page: int) -> int:
        """Word address of the folio that ``page`` maps."""
        pfn = (self.entry(page) & PTE_PFN_MASK) >> PTE_PFN_SHIFT
        return self.node["folios"] + (pfn - self.node["start_pfn"]) * Folio.size

    def seq(self, page: int) -> int:
        """The generation that ``page`` is in."""
        gen = self.call("folio_lru_gen", self.folio(page))
        max_seq = self.node["lrugen.max_seq"]
        return next(seq for seq in range(max_seq, -1, -1) if seq % MAX_NR_GENS == gen)

    def event(self, name: str) -> int:
        """A counter, over all CPUs."""
        rows = self.node.array("events").reshape(-1, VmEvents.size)
        return int(rows[:, VmEvents.offset(name)].sum())

    def poke(self, pfn: int, value: int, word: int = 0) -> None:
        """Store to a frame, as the guest or its device would."""
        self.machine.memory.words[(pfn << self.machine.page_shift) + word] = value

    def peek(self, pfn: int, word: int = 0) -> int:
        """Load from a frame."""
        return int(self.machine.memory.words[(pfn << self.machine.page_shift) + word])
