"""A small VM with guests of its own, built on ``small_vm`` by the system's own kernel Python.

L2's page ``n`` is L1's page ``n`` unless said otherwise. L1's own table is not in anybody's
memory: what it says is handed to the steps of a fault that come after the walk.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import End, Setup
from mkold.check.setup import ThreadCall
from mkold.claims.powerpc.small_vm import ACCESSED, HVA, SMALL, Vm, make_vm
from mkold.kvm.notifier import kvm_test_clear_young_slow
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest, Vcpu
from mkold.kvm.powerpc.nested.enter import kvmhv_enable_nested
from mkold.kvm.powerpc.nested.fault import kvmhv_map_shadow
from mkold.kvm.powerpc.nested.guest import kvmhv_get_nested
from mkold.kvm.powerpc.nested.rmap import nest_rmap
from mkold.kvm.powerpc.nested.shadow import find_kvm_nested_guest_pte
from mkold.kvm.powerpc.nested.spread import nest_rmapp
from mkold.kvm.types import RESUME_HOST, MemorySlot
from mkold.lang import Ptr, kernel, u64
from mkold.mm.slab import KmemCache, kmem_cache_alloc, kmem_cache_free

NESTED_SMALL = {**SMALL, "HW_SETS_RC": 0, "KVM_MAX_NESTED_GUESTS": 3}
NESTED_CACHES = Kvm.layout.field("arch.nested_caches").offset


@kernel
def no_page(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64) -> u64:
    """Stands for a fault that would bring L1's page in: the host has none."""
    return RESUME_HOST


@kernel
def l1_has_no_table(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Stands for reading L1's partition table: its entry is gone."""
    gp.l1_gr_to_hr = 0


# What would need a host's memory: of a fault, of a tlbie.
NO_PAGE = {"kvmppc_book3s_instantiate_page": no_page}
NO_TABLE = {"kvmhv_update_ptbl_cache": l1_has_no_table}


@dataclass(frozen=True, slots=True)
class NestedVm:
    """A VM that may have guests of its own."""

    vm: Vm

    @property
    def m(self) -> Setup:
        return self.vm.m

    @property
    def kvm(self) -> int:
        return self.vm.kvm

    def guest(self, number: int = 1) -> int:
        """L1's guest of that number, made if need be."""
        return self.m.call(kvmhv_get_nested, self.kvm, number, 1)

    def stock(self, cpu: int) -> None:
        """Let ``cpu`` find free guests, nodes and tables in its own magazine."""
        self.vm.stock(cpu)
        for i in range(2):
            cache = self.kvm + NESTED_CACHES + i * KmemCache.size
            found = self.m.call(kmem_cache_alloc, cache, cpu=cpu)
            self.m.call(kmem_cache_free, cache, found, cpu=cpu)

    def fault(self, gp: int, n_gfn: int, gfn: int | None = None, *, name: str) -> ThreadCall:
        """Steps 3 to 6 of a read fault of L2, for a thread: L1 maps the page, R and C set."""
        vcpu = self.m.new(Vcpu, name)
        page = n_gfn if gfn is None else gfn
        self.m.poke(vcpu + Vcpu.layout.field("arch.fault.n_gfn").offset, n_gfn)
        self.m.poke(vcpu + Vcpu.layout.field("arch.fault.gfn").offset, page)
        l2_pte = self.vm.leaf(page, write=True)
        return (kvmhv_map_shadow, self.kvm, vcpu, gp, l2_pte, 0, 0)

    def shadow(self, gp: int, n_gfn: int, gfn: int | None = None) -> int:
        """Map a page of L2 now, as a fault does; its shadow entry's address."""
        name = f"vcpu{gp:x}.{n_gfn}"
        assert not self.m.call(*self.fault(gp, n_gfn, gfn, name=name))
        return self.shadow_entry(gp, n_gfn)

    def shadow_entry(self, gp: int, n_gfn: int) -> int:
        """Address of the shadow entry of ``n_gfn``, whose tables are there."""
        return self.m.call(find_kvm_nested_guest_pte, gp, n_gfn)

    def age_locked(self, gfn: int = 0) -> ThreadCall:
        """Locked aging of one page, for a thread."""
        return (kvm_test_clear_young_slow, self.kvm, HVA + gfn, HVA + gfn + 1, 1)

    def rmapp(self, gfn: int) -> int:
        """Address of the reverse map's word of L1's page ``gfn``."""
        return self.m.call(nest_rmapp, self.kvm, gfn)

    def entry(self, number: int, n_gfn: int) -> int:
        """The reverse map's entry."""
        return self.m.call(nest_rmap, number, n_gfn)


def make_nested_vm(m: Setup, *, enabled: bool = True) -> NestedVm:
    """A VM in radix mode that has no guest yet."""
    nested = NestedVm(make_vm(m))
    m.declare(NESTED_SMALL)
    if enabled:
        assert not m.call(kvmhv_enable_nested, nested.kvm)
    return nested


def never_young_behind(m: Setup, l1: int, shadow: int) -> None:
    """Aging asks L1's entry alone: what L2 uses must not look idle there."""
    m.watch("l1", l1)
    m.watch("shadow", shadow)

    def broken(end: End) -> bool:
        return bool(end["shadow"] & ACCESSED) and not end["l1"] & ACCESSED

    m.never(
        "shadow-young-alone",
        broken,
        "The shadow entry has R and L1's entry has not: what L2 does is not seen any more.",
    )
