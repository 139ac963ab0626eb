"""Time to decide, as the machine grows: pages, levels of the tree that hold more, threads.

Usage: python bench/check.py            (a table; each point at most LIMIT_S)

The walker ages ``pages`` young pages while the hardware touches each of them, or while
the VM leaves radix mode, or beside other walkers.
"""

from __future__ import annotations

from mkold.check import Case, Scenario, Setup
from mkold.check.decide import decide_case
from mkold.claims.powerpc.small_vm import SMALL, make_vm
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.powerpc.switch import kvmppc_switch_mmu_to_hpt

LIMIT_S = 60.0
# Entries per table, as powers of two, at the levels PTE, PMD, PUD, PGD.
GEOMETRIES = ((1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1), (3, 2, 2, 1))
LEVELS = ("PTE", "PMD", "PUD", "PGD")


def geometry(sizes: tuple[int, ...]) -> dict[str, int]:
    """Build parameters of a tree."""
    names = (f"RADIX_{level}_INDEX_SIZE" for level in LEVELS)
    return {**SMALL, **dict(zip(names, sizes, strict=True))}


def against_switch(pages: int, walkers: int, sizes: tuple[int, ...]) -> Scenario:
    """``walkers`` passes over ``pages`` pages while the VM leaves radix mode."""

    def setup(m: Setup) -> None:
        vm = make_vm(m)
        for gfn in range(pages):
            vm.map(gfn)
        for i in range(walkers):
            walk = (kvm_test_clear_young_hv, vm.kvm, 0, pages, 1, 0, 0)
            m.thread(f"walker{i}", walk)
        m.thread("switch", (kvmppc_switch_mmu_to_hpt, vm.kvm))

    return Scenario(f"switch-{pages}-{walkers}", setup, geometry(sizes))


def against_hardware(pages: int, vcpus: int) -> Scenario:
    """One pass over ``pages`` pages while each of ``vcpus`` vCPUs writes to one of them."""

    def setup(m: Setup) -> None:
        vm = make_vm(m)
        for gfn in range(pages):
            vm.map(gfn, write=False)
        m.thread("walker", (kvm_test_clear_young_hv, vm.kvm, 0, pages, 1, 0, 0))
        for i in range(vcpus):
            m.thread(f"vcpu{i}", (mmu_walk_hw, vm.kvm, vm.vcpu(f"v{i}"), i % pages, 1))

    return Scenario(f"hardware-{pages}-{vcpus}", setup, SMALL)


def show(label: str, scenario: Scenario) -> bool:
    """Decide and print one row; whether it was decided in time."""
    result = decide_case(Case(label, scenario), timeout_s=LIMIT_S, show=False)
    verdict = f"{result.status}: {result.reason}" if result.reason else result.status
    print(f"| {label} | {result.n_threads} | {verdict} | {result.cpu_s:.2f} |", flush=True)
    return result.status == "holds"


def main() -> None:
    print("| machine | threads | verdict | s |\n| --- | ---: | --- | ---: |")
    small = GEOMETRIES[0]
    for pages in (1, 2, 4, 8, 12):
        if not show(f"{pages} page(s), switch to HPT", against_switch(pages, 1, small)):
            break
    for sizes in GEOMETRIES[1:]:
        entries = "x".join(str(1 << size) for size in sizes)
        label = f"2 pages, {entries} entries, switch to HPT"
        if not show(label, against_switch(2, 1, sizes)):
            break
    for walkers in (2, 4, 8):
        label = f"1 page, {walkers} walkers, switch to HPT"
        if not show(label, against_switch(1, walkers, small)):
            break
    for pages in (2, 16):
        if not show(f"{pages} pages, hardware", against_hardware(pages, 1)):
            break
    for vcpus in (2, 4, 8):
        if not show(f"2 pages, {vcpus} vCPUs", against_hardware(2, vcpus)):
            break


if __name__ == "__main__":
    main()
