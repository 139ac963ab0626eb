"""The machine's native code: which functions, with which build parameters."""

from __future__ import annotations

from mkold.kvm.main import kvm_create_vm
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.powerpc.radix.pte import RADIX_4K, RADIX_64K
from mkold.kvm.powerpc.radix.pte_update import CLEAR_BY_PTE_XCHG, CLEAR_BY_UPDATE_PTE
from mkold.kvm.powerpc.switch import kvmhv_configure_mmu
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.mm.mm_init import lru_init, mm_init, node_init
from mkold.mm.mm_types import N_CPUS
from mkold.mm.mmu_notifier import mmu_notifier_subscriptions_init
from mkold.mm.page_alloc import memblock_init, nr_free_pages, page_alloc_init
from mkold.native import Image, build
from mkold.run.clock import read_cycles
from mkold.run.guest import replay
from mkold.run.kswapd import kswapd_work
from mkold.run.spec import MachineSpec
from mkold.run.variants import variant_params

TLB_BITS = 10
_COMMON = {"PTE_TABLE_SHIFT": 9, "TLB_BITS": TLB_BITS, "NR_CPUS": N_CPUS}
_GEOMETRY = {
    "4k": RADIX_4K | _COMMON | {"PAGE_SHIFT": 9},
    "64k": RADIX_64K | _COMMON | {"PAGE_SHIFT": 13},
}
_CLEAR = {"pte_xchg": CLEAR_BY_PTE_XCHG, "radix_update_pte": CLEAR_BY_UPDATE_PTE}

ENTRIES = (
    memblock_init, page_alloc_init, nr_free_pages, node_init, mm_init, lru_init,
    mmu_notifier_subscriptions_init, kvm_create_vm, kvm_add_memslot, kvm_vcpu_init,
    kvmhv_configure_mmu, read_cycles, replay, kswapd_work,
)  # fmt: skip


def parameters(spec: MachineSpec) -> dict[str, int]:
    """Build parameters of the machine; a variant has the last word."""
    clear = {"CLEAR_YOUNG": _CLEAR[spec.clear]}
    return _GEOMETRY[spec.page_size] | clear | variant_params(spec.variant)


def machine_image(spec: MachineSpec, *, checked: bool = False) -> Image:
    """Compile the machine, or take it from the cache.

    Raises
    ------
    UsageError : there is no such variant
    """
    return build(ENTRIES, parameters(spec), checked=checked)
