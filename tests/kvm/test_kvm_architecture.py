"""An architecture is a folder and one line: ``flat_arch`` runs, is decided and is offered."""

from __future__ import annotations

import json

import pytest
from flat_arch.kvm_host import ACCESSED, PRESENT, Kvm, flat_entry
from flat_arch.machine import machine as flat

from mkold.base.errors import Exit, InputError, UsageError
from mkold.check import Case, End, Scenario, Setup, Split
from mkold.check.decide import decide_case
from mkold.check.result import CaseResult
from mkold.cli.main import main
from mkold.ir.boot import MEMBLOCK
from mkold.ir.module import collect
from mkold.kvm import arch
from mkold.kvm.arch import kvm_arch_init_vm, kvm_arch_test_clear_young, kvm_arch_vcpu_walk
from mkold.kvm.architectures import ARCHITECTURES, architecture
from mkold.kvm.main import kvm_create_vm
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.types import TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.lang import KernelFunction
from mkold.mm.page_alloc import memblock_init
from mkold.run import MachineSpec, RunSpec, run
from mkold.trace import find_trace, read_trace


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(ARCHITECTURES, "flat", "flat_arch.machine:machine")


def test_every_hook_is_defined_by_every_architecture() -> None:
    hooks = {name for name, value in vars(arch).items() if getattr(value, "is_hook", False)}
    assert len(hooks) > 10
    for name in ARCHITECTURES:
        found = architecture(name).hooks
        assert hooks <= set(found)  # it may have some of its own, between its parts
        for hook in hooks:
            assert found[hook].signature == getattr(arch, hook).signature


@pytest.mark.slow
def test_a_guest_replays_a_trace() -> None:
    machine = MachineSpec(arch="flat", vcpus=2, memory_share=0.3, interval_s=0.01)
    spec = RunSpec(rounds=1, duration_s=1.0)
    result = run(read_trace(find_trace("lookup")), machine, spec=spec)
    assert not result.wrong
    assert result.machine.arch == "flat"
    assert result.machine.clear == "andnot"
    for path in result.paths:
        assert path["guest_accesses_per_s"] > 0
        assert path["refaults"] > 0
        if path.path != "none":
            assert path["young_seen_share"] > 0.5


@pytest.mark.slow
def test_the_command_line_offers_it(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--duration", "0.4", "--rounds", "1", "--paths", "lockless", "--json"]
    assert main(["run", "lookup", "--arch", "flat", *quick]) == Exit.HOLDS
    assert json.loads(capsys.readouterr().out)["guests"][0]["machine"]["arch"] == "flat"
    assert main(["run", "--arch", "flat", "--page-size", "64k"]) == Exit.USAGE
    assert "4 KiB" in capsys.readouterr().err
    assert main(["run", "--arch", "pdp11"]) == Exit.USAGE
    listed = capsys.readouterr().err
    assert "there are: powerpc, " in listed
    assert ", flat" in listed


@pytest.mark.parametrize("name", ["page_size", "clear", "mmu", "variant"])
def test_each_architecture_has_choices_of_its_own(name: str) -> None:
    with pytest.raises(UsageError, match="there is no"):
        MachineSpec(arch="flat", **{name: "radix"}).check()  # type: ignore[arg-type]


# -- a small scenario --------------------------------------------------------------------------


def one_page(m: Setup) -> tuple[int, int]:
    """A VM of one page, young and mapped to frame 7; the VM and the entry."""
    m.bind(flat.hooks)
    heap = m.words(64, align=8)
    m.call(memblock_init, heap, heap + 64)
    assert m.peek(MEMBLOCK)
    kvm = m.new(Kvm, "kvm")
    m.call(kvm_arch_init_vm, kvm)
    m.call(kvm_add_memslot, kvm, 0, 1, 100)
    entry = m.call(flat_entry, kvm, 0)
    m.poke(entry, 7 << 3 | PRESENT | ACCESSED)
    m.watch("entry", entry)
    return kvm, entry


def age_and_unmap(m: Setup) -> None:
    """The fast path against an invalidation: the page is gone for good."""
    kvm, _ = one_page(m)
    m.thread("ager", (kvm_arch_test_clear_young, kvm, 0, 1, 1, 0, 0))
    m.thread("host", (kvm_mmu_notifier_invalidate_range_start, kvm, 100, 101))
    m.never("revived", lambda end: bool(end["entry"] & PRESENT), "The page is mapped again.")


def age_and_access(m: Setup) -> None:
    """The fast path against the hardware: an access is seen now or by the next pass."""
    kvm, entry = one_page(m)
    m.poke(entry, 7 << 3 | PRESENT)
    vcpu, tlb = m.new(flat.vcpu, "vcpu"), m.new(TlbEntry, "tlb")
    m.call(kvm_vcpu_init, kvm, vcpu, tlb)
    m.thread("ager", (kvm_arch_test_clear_young, kvm, 0, 1, 1, 0, 0))
    m.thread("vcpu", (kvm_arch_vcpu_walk, kvm, vcpu, 0, 0))

    def unseen(end: End) -> bool:
        return not end.result("ager", 0, 1) and not end["entry"] & ACCESSED

    m.never("access-lost", unseen, "Nobody will ever report the access.")


UNMAP = Scenario("flat-age-vs-unmap", age_and_unmap, {**flat.small, "LOCK_STAT": 0})
ACCESS = Scenario("flat-age-vs-access", age_and_access, {**flat.small, "TLB_BITS": 0})
CLEAR = "flat_clear_young:atomic_fetch_andnot_relaxed"


def decide(scenario: Scenario, *edits: object) -> CaseResult:
    return decide_case(Case("", scenario, edits), show=False)  # type: ignore[arg-type]


def test_scenarios_are_decided() -> None:
    assert decide(UNMAP).status == "holds"
    assert decide(ACCESS).status == "holds"
    assert decide(UNMAP, Split(CLEAR)).broken == ("revived",)
    assert decide(ACCESS, Split("kvm_arch_vcpu_walk:atomic_or")).status == "holds"


# -- what is refused ---------------------------------------------------------------------------


def test_a_hook_that_is_missing_or_does_not_fit_is_named() -> None:
    some = {name: hook for name, hook in flat.hooks.items() if name != "kvm_arch_init_vm"}
    with pytest.raises(InputError, match="kvm_arch_init_vm is a hook"):
        collect([kvm_create_vm], hooks=some)
    wrong: dict[str, KernelFunction] = {**flat.hooks, "kvm_arch_init_vm": flat_entry}
    with pytest.raises(InputError, match="does not fit the hook"):
        collect([kvm_create_vm], hooks=wrong)
