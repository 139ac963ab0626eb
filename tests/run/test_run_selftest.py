"""The kernel's selftests: their phases in order, and what each leaves behind."""

import json

import pytest

from mkold.base.errors import Exit
from mkold.cli.main import main
from mkold.ir.boot import BOOT_WORDS
from mkold.native import Memory
from mkold.run.clock import cycles_per_second
from mkold.run.image import machine_image
from mkold.run.machine import Machine
from mkold.run.selftest import PHASES, Phases, phase_program, selftest
from mkold.run.spec import MachineSpec

PAGES = 1024
SPEC = MachineSpec(vcpus=2, memory_share=1.0).check()


@pytest.fixture(scope="module")
def phases() -> Phases:
    """Two vCPUs with pages of their own, lockless."""
    image = machine_image(SPEC)
    hz = cycles_per_second(image, Memory(BOOT_WORDS))
    return Phases(Machine(image, phase_program(PAGES, 2), SPEC, "lockless", hz), PAGES)


@pytest.mark.parametrize("name", PHASES)
@pytest.mark.parametrize("overlap", [False, True])
def test_every_path_goes_through_all_phases(name: str, overlap: bool) -> None:
    paths = ("none", "locked", "lockless", "locked")
    found = selftest(name, SPEC, PAGES, paths, overlap=overlap)
    assert [phase.path for phase in found] == ["none", "locked", "lockless"]
    for phase in found:
        assert list(phase.seconds) == [title for title, _ in PHASES[name]]
        assert phase.mismatches == 0
        idle = [s for title, s in phase.seconds.items() if "idle" in title and "mark" in title]
        assert all((s is None) == (phase.path == "none") for s in idle)


def test_what_the_phases_do_to_the_machine(phases: Phases) -> None:
    machine = phases.machine

    def faults() -> int:
        return sum(vcpu["stat.faults"] for vcpu in machine.vcpus)

    phases.does["write"]()
    assert faults() == 2 * PAGES  # nothing was populated before
    phases.does["idle"]()
    assert machine.node["lrugen.aging.young"] == 2 * PAGES
    phases.does["idle"]()
    assert machine.node["lrugen.aging.young"] == 2 * PAGES  # none since
    before = faults()
    phases.does["write"]()
    assert faults() == before  # old pages are written without a fault
    phases.does["protect"]()
    assert faults() == before + 2 * PAGES  # read again after they were unmapped
    phases.does["write"]()
    assert faults() == before + 4 * PAGES  # and made writable one by one
    assert all(guest["mismatches"] == 0 for guest in machine.guests)


def test_the_verb_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["-b", "4M", "--duration", "0.3", "--rounds", "1", "--paths", "none,lockless"]
    assert main(["run", "--workload", "mmu_stress", *quick, "--json"]) == Exit.HOLDS
    guest = json.loads(capsys.readouterr().out)["guests"][0]
    assert [phases["path"] for phases in guest["phases"]] == ["none", "lockless"]
    assert list(guest["phases"][0]["seconds"]) == ["run1", "reset", "run2", "ro", "rw"]
