"""The machine's native code: which functions, with which hooks and build parameters."""

from __future__ import annotations

from mkold.ir.boot import MAX_CPUS
from mkold.ir.definition import Definition
from mkold.kvm.machine import Architecture, Nesting
from mkold.kvm.main import kvm_create_vm, kvm_init
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.mm.fault.collapse import madvise_collapse
from mkold.mm.fault.madvise import madvise_pageout
from mkold.mm.fault.mprotect import mprotect_read
from mkold.mm.mglru.generations import lru_init
from mkold.mm.mm_init import mm_init, node_init
from mkold.mm.mmu_notifier import mmu_notifier_subscriptions_init
from mkold.mm.page_alloc import memblock_init, nr_free_pages, page_alloc_init
from mkold.mm.versions import VERSIONS
from mkold.native import Image, build
from mkold.run.clock import read_cycles
from mkold.run.guest import replay
from mkold.run.kswapd import kswapd_work
from mkold.run.spec import MachineSpec

LINE_SHIFT = 3  # log2 of the words in a cache line
SOME_CPUS = 16

_ENTRIES = (
    memblock_init, page_alloc_init, nr_free_pages, node_init, mm_init, lru_init,
    mmu_notifier_subscriptions_init, kvm_init, kvm_create_vm, kvm_add_memslot, kvm_vcpu_init,
    read_cycles, replay, kswapd_work, kvm_flush_remote_tlbs, mprotect_read, madvise_pageout,
    madvise_collapse,
)  # fmt: skip


def entries(arch: Architecture, nesting: Nesting | None = None) -> list[Definition]:
    """What the machine calls."""
    configure = [mode.configure for mode in arch.modes.values() if mode.configure]
    audits = [audit for audit in (arch.audit, nesting and nesting.audit) if audit]
    nested = [nesting.boot, nesting.enter] if nesting else []
    return [*_ENTRIES, *dict.fromkeys(configure), *audits, *nested]


def parameters(spec: MachineSpec) -> dict[str, int]:
    """Build parameters of the machine; a variant has the last word."""
    spec = spec.check()
    arch = spec.architecture
    variant = arch.variants[spec.variant].parameters if spec.variant else {}
    cpus = max(SOME_CPUS, 1 << (spec.vcpus + 1).bit_length())
    return {
        "NR_CPUS": min(cpus, MAX_CPUS),
        "PAGE_SHIFT": content_shift(spec.vcpus),
        "TLB_BITS": spec.tlb_entries.bit_length() - 1,
        **VERSIONS[spec.mm],
        **arch.parameters,
        **arch.kernels[spec.kernel].parameters,
        **arch.page_sizes[spec.page_size].parameters,
        **arch.clears[spec.clear].parameters,
        **arch.modes[spec.mmu].parameters,
        **(spec.nesting.parameters if spec.nesting else {}),
        **variant,
    }


def content_shift(vcpus: int) -> int:
    """log2 of the words of a page that are modelled: one for each vCPU, at least a line."""
    return max(LINE_SHIFT, (vcpus - 1).bit_length())


def machine_image(spec: MachineSpec, *, checked: bool = False) -> Image:
    """Compile the machine, or take it from the cache; one that is ``checked`` looks for what
    is wrong, and is soon built rather than fast.

    Raises
    ------
    UsageError : a value of ``spec`` makes no sense
    """
    arch = spec.architecture
    nesting = spec.nesting
    hooks = {**arch.hooks, **(nesting.hooks if nesting else {})}
    called, values = entries(arch, nesting), parameters(spec)
    return build(called, values, hooks=hooks, checked=checked, optimised=not checked)
