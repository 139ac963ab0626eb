"""The walker against the switches between radix and hash: claims 1, 2, 3, 6 and 20."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Set, Setup, Swap
from mkold.claims.powerpc.guest import guest_walks, mapped_frame, running_vcpu
from mkold.claims.powerpc.small_vm import SMALL, make_vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.switch import (
    kvmhv_configure_mmu,
    kvmppc_switch_mmu_to_hpt,
    kvmppc_switch_mmu_to_radix,
)

REVIEW = "review of v2 07/10, lore.kernel.org, 20-21 June 2023"
PATCH = "v2 07/10, lore 20230526234435.662652-8-yuzhao@google.com"


def walk_and_leave_radix(m: Setup) -> None:
    vm = make_vm(m)
    for gfn in (0, 1):
        vm.map(gfn)
    m.thread("walker", vm.age(0, 2))
    m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))


def two_walkers_and_leave_radix(m: Setup) -> None:
    vm = make_vm(m)
    for gfn in (0, 1):
        vm.map(gfn)
    m.thread("walker", vm.age(0, 2))
    m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))
    m.thread("tester", vm.age(clear=False))


def walk_and_enter_radix(m: Setup) -> None:
    vm = make_vm(m, radix=False)
    vm.stock(cpu=1, levels=range(3, 4))
    m.thread("walker", vm.age(0, 2))
    m.thread("switch", (kvmppc_switch_mmu_to_radix, vm.kvm))

    def young(end: End) -> bool:
        return end.result("walker", -1, 1) != 0

    m.never("young-from-nowhere", young, "An empty tree is reported to hold young pages.")


def guest_and_leave_radix(m: Setup) -> None:
    """A running VM is switched to HPT: its vCPUs are stopped before the tree is freed."""
    vm = make_vm(m)
    mapped_frame(vm, value=7)
    vcpu = running_vcpu(vm)
    m.poke(vm.kvm + Kvm.offset("stop"), 1)  # whoever finds it not ready gives up
    m.thread("guest", (guest_walks, vm.kvm, vcpu, 0))
    m.thread("switch", (kvmhv_configure_mmu, vm.kvm, 0))


TO_HPT = Scenario("walk-vs-to-hpt", walk_and_leave_radix, SMALL)
TO_HPT_3 = Scenario("two-walks-vs-to-hpt", two_walkers_and_leave_radix, SMALL)
TO_RADIX = Scenario("walk-vs-to-radix", walk_and_enter_radix, SMALL)
STOP = Scenario("guest-vs-configure-mmu", guest_and_leave_radix, SMALL)

NO_GP = Drop("kvmppc_switch_mmu_to_hpt:synchronize_rcu")
NO_WMB = Drop("kvmppc_switch_mmu_to_radix:smp_wmb")
NO_RMB = Drop("kvm_test_clear_young_hv:smp_rmb")
GP_FOR_WMB = Swap("kvmppc_switch_mmu_to_radix:smp_wmb", "synchronize_rcu")

CLAIMS = [
    Claim(
        "1-no-use-after-free",
        "RCU protects the page table from being freed: the walker never touches a table "
        "that the switch to HPT has freed.",
        f"Zhao, {REVIEW}",
        (
            Case("as written", TO_HPT),
            Case("as written, two walkers", TO_HPT_3),
            Case("without synchronize_rcu()", TO_HPT, (NO_GP,), decides=False),
        ),
    ),
    Claim(
        "2-no-use-before-init",
        "The walker never reads a table that the switch to radix has not yet initialised.",
        f"Zhao, {REVIEW}",
        (
            Case("as written", TO_RADIX),
            Case("without smp_wmb()", TO_RADIX, (NO_WMB,), decides=False),
            Case("without smp_rmb()", TO_RADIX, (NO_RMB,), decides=False),
            Case("with neither", TO_RADIX, (NO_WMB, NO_RMB), decides=False),
        ),
    ),
    Claim(
        "3a-grace-period-for-barriers",
        "If you had synchronize_rcu() where smp_wmb() is, then no smp_rmb() is needed here.",
        f"Piggin, {REVIEW}",
        (
            Case(
                "synchronize_rcu() for smp_wmb(), no smp_rmb()", TO_RADIX, (GP_FOR_WMB, NO_RMB)
            ),
        ),
    ),
    Claim(
        "3b-barrier-regardless",
        "So we need the r/w barrier regardless (of synchronize_rcu()).",
        f"Zhao, {REVIEW}",
        (
            Case(
                "synchronize_rcu() for smp_wmb(), no smp_rmb()", TO_RADIX, (GP_FOR_WMB, NO_RMB)
            ),
        ),
        asks="possible",
    ),
    Claim(
        "6-plain-mode-flag",
        "The mode flag may be read and written by plain accesses, as posted.",
        f"implied by {PATCH}",
        (
            Case(
                "flag read and written plainly",
                TO_HPT,
                (Set("PLAIN_RADIX_FLAG", 1), Swap("set_radix_mode:WRITE_ONCE", "store")),
                only=frozenset({"data-race"}),
            ),
            Case("as written", TO_HPT, decides=False, only=frozenset({"data-race"})),
        ),
    ),
    Claim(
        "20-vcpus-stopped",
        "No vCPU walks the tree that a mode switch frees.",
        "arch/powerpc/kvm/book3s_hv.c (kvmhv_configure_mmu)",
        (Case("guest while the mode is switched", STOP),),
    ),
]
