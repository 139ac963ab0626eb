"""Which modules run a VM on which host, and what the host may then ask of it."""

from __future__ import annotations

from functools import cache

import pytest
from hash_machine import PFN
from kvm_machine import ENTRIES, SMALL, Machine

from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmppcOps
from mkold.kvm.powerpc.machine import PR_HOST
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.mm.mm_types import PTE_PRESENT, PTE_READ, PTE_WRITE
from mkold.native import Image, build

FEATURES = ("CPU_FTR_HVMODE", "CPU_FTR_ARCH_300", "MMU_FTR_TYPE_RADIX", "NESTED_API")
# By features, then HV and PR there: who runs a VM, and whether the gate is open.
EXPECTED = [
    ((1, 0, 0, 0), 1, 1, "HV", 0),
    ((1, 0, 0, 0), 0, 1, "PR", 0),
    ((0, 0, 0, 0), 1, 1, "PR", 0),
    ((0, 0, 0, 0), 1, 0, "", 0),
    ((1, 1, 1, 0), 1, 1, "HV", 1),
    ((1, 1, 1, 0), 0, 1, "", 1),
    ((1, 1, 0, 0), 0, 1, "PR", 0),
    ((0, 1, 1, 0), 1, 1, "", 0),
    ((0, 1, 1, 1), 1, 1, "HV", 0),
    ((0, 1, 1, 2), 1, 0, "HV", 0),
]


@cache
def image(params: tuple[tuple[str, int], ...]) -> Image:
    return build(
        ENTRIES, {**SMALL, **dict(params)}, hooks=powerpc.hooks, checked=True, optimised=False
    )


class PrMachine(Machine):
    """A VM under PR; its host pages are all there."""

    def __init__(self) -> None:
        super().__init__(image(tuple(PR_HOST.items())))
        table = self.process(PFN)
        for gfn in range(128):
            self.words[table + gfn] = PTE_PRESENT | PTE_READ | PTE_WRITE | (PFN + gfn) << 12


@pytest.mark.slow
@pytest.mark.parametrize(("features", "hv", "pr", "runs", "gate"), EXPECTED)
def test_who_runs_a_vm(
    features: tuple[int, ...], hv: int, pr: int, runs: str, gate: int
) -> None:
    params = dict(zip(FEATURES, features, strict=True)) | {"KVM_HV": hv, "KVM_PR": pr}
    built = image(tuple(params.items()))
    try:
        machine = Machine(built)
    except AssertionError:
        assert runs == "", "nothing to run a VM with"
        return
    ops = machine.word(machine.kvm + Kvm.layout.field("arch.kvm_ops").offset)
    path = machine.word(ops, KvmppcOps, "test_clear_young")
    assert runs == ("HV" if path else "PR")
    assert bool(machine("kvm_arch_has_test_clear_young")) == bool(gate)


def test_pr_runs_a_guest_and_never_sees_it_young() -> None:
    machine = PrMachine()
    kvm, vcpu = machine.kvm, machine.vcpus[0]
    assert machine("kvm_vcpu_load", kvm, vcpu) == 0
    for gfn in range(100):
        assert machine("kvm_vcpu_access", kvm, vcpu, gfn, gfn & 1) == PFN + gfn
    machine("kvm_vcpu_put", vcpu)
    assert machine.young(0, 100, 0) == 0
    assert machine.young(0, 100, 1) == 0
    bitmap = machine.new(8)
    assert machine.young(0, 100, 0, bitmap) == 0
    assert not machine.words[bitmap : bitmap + 2].any()
    hva = machine.hva
    machine("mmu_notifier_invalidate_range_start", machine.mm, hva + 10, hva + 20)
    machine("mmu_notifier_invalidate_range_end", machine.mm, hva + 10, hva + 20)
    unmapped = machine.word(kvm + Kvm.layout.field("stat.unmapped").offset)
    assert unmapped == 10
    assert machine("kvmhv_configure_mmu", kvm, 1) == 1, "a host that is not radix can't"
    machine("kvm_destroy_vm", kvm)
    machine("rcu_do_batch")
