"""Page tables of a VM that leaves radix mode: beside a walk that ages, beside a fault."""

from __future__ import annotations

from mkold.check import Scenario, Setup
from mkold.claims.powerpc.faults import host_word
from mkold.claims.powerpc.small_vm import SMALL, make_vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.powerpc.switch import kvmppc_switch_mmu_to_hpt
from mkold.kvm.types import Vcpu

HOST_PAGE = 0x51


def walk(pages: int) -> Scenario:
    """A walk that ages ``pages`` pages against the switch to HPT."""

    def setup(m: Setup) -> None:
        vm = make_vm(m)
        for gfn in range(pages):
            vm.map(gfn)
        m.thread("walker", (kvm_test_clear_young_hv, vm.kvm, 0, pages, 1, 0, 0))
        m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))

    return Scenario(f"walk-{pages}", setup, SMALL)


def fault(neighbours: int) -> Scenario:
    """A fault on page 0, whose neighbours are mapped, against the switch to HPT."""

    def setup(m: Setup) -> None:
        vm = make_vm(m)
        for gfn in range(1, neighbours + 1):
            vm.map(gfn)
        host = m.words(1, "host_page", value=HOST_PAGE)
        m.poke(vm.kvm + Kvm.offset("mm"), host)
        vcpu = m.new(Vcpu, "vcpu")
        m.thread("fault", (kvmppc_book3s_radix_page_fault, vm.kvm, vcpu, 0, 1))
        m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))

    return Scenario(f"fault-{neighbours}", setup, SMALL, stand_ins={"hva_to_pfn": host_word})
