"""``mkold host`` over files saved from real kernels, and over the same with a fact changed."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.base.errors import Exit, InputError
from mkold.cli.main import main
from mkold.host.age import age
from mkold.host.costs import PUBLISHED, Reading, between, published
from mkold.host.facts import Facts, Guest, look
from mkold.host.files import Files
from mkold.host.generations import LRU_GEN, lruvecs
from mkold.host.paths import aging_path

TREES = Path(__file__).parent / "trees"
SAVED = sorted(path.name for path in TREES.iterdir())


def facts_of(name: str) -> Facts:
    return look(Files(TREES / name))


@pytest.fixture
def x86(tmp_path: Path) -> Path:
    """A copy of the x86 tree, to change."""
    return Path(shutil.copytree(TREES / "x86-6.12", tmp_path / "host"))


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def test_what_a_saved_x86_says() -> None:
    facts = facts_of("x86-6.12")
    assert (facts.arch, facts.version, facts.vendor) == ("x86", (6, 12), "amd")
    assert facts.kvm
    assert facts.hypervised
    assert facts.parameter("kvm.tdp_mmu")
    assert facts.lru_gen == 7
    assert facts.config is not None
    assert "CONFIG_LRU_GEN" in facts.config
    assert facts.guests is not None
    # A VM of 1024 pages that were all touched, and three of code and lists.
    assert [(guest.vcpus, guest.entries) for guest in facts.guests] == [(1, 1027)]


def test_what_a_saved_arm64_says(capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of("arm64-6.12")
    assert (facts.arch, facts.version, facts.lru_gen) == ("arm64", (6, 12), 3)
    # This kernel keeps no folder a vCPU: how many there are is not known, and not said.
    assert facts.guests == (Guest(0),)
    assert main(["host", "--root", str(TREES / "arm64-6.12")]) == 0
    page = capsys.readouterr().out
    assert "held for writing" in page
    assert "vCPU" not in page


@pytest.mark.parametrize(("name", "guest"), [("power9-6.12", False), ("pseries-6.12", True)])
def test_what_a_saved_power_says(name: str, guest: bool) -> None:
    facts = facts_of(name)
    assert (facts.arch, facts.vendor, facts.mmu) == ("powerpc", "hv", "radix")
    assert facts.hypervised is guest
    assert facts.guests == (Guest(1),)


@pytest.mark.parametrize("name", SAVED)
def test_every_saved_host_is_aged_under_the_lock(name: str) -> None:
    path = aging_path(facts_of(name))
    assert path.kind == "locked"
    assert path.missing
    assert path.because


def test_x86_without_the_lock(x86: Path) -> None:
    release = "6.15.0"
    put(x86, "proc/sys/kernel/osrelease", release)
    assert aging_path(look(Files(x86))).kind == "lockless"  # by the version alone
    put(x86, f"boot/config-{release}", "CONFIG_KVM=m")
    assert aging_path(look(Files(x86))).kind == "locked"  # the configuration knows better
    put(x86, f"boot/config-{release}", "CONFIG_KVM=m\nCONFIG_KVM_MMU_LOCKLESS_AGING=y")
    found = aging_path(look(Files(x86)))
    assert (found.kind, found.missing) == ("lockless", ())
    put(x86, "sys/module/kvm/parameters/tdp_mmu", "N")
    assert "reverse maps" in aging_path(look(Files(x86))).sentence


def test_intel_without_accessed_bits(x86: Path) -> None:
    shutil.rmtree(x86 / "sys/module/kvm_amd")
    put(x86, "sys/module/kvm_intel/parameters/ept", "Y")
    put(x86, "sys/module/kvm_intel/parameters/eptad", "Y")
    assert not any("accessed bits" in remark for remark in aging_path(look(Files(x86))).remarks)
    put(x86, "sys/module/kvm_intel/parameters/eptad", "N")
    assert any("accessed bits" in remark for remark in aging_path(look(Files(x86))).remarks)


def test_no_kvm(x86: Path) -> None:
    shutil.rmtree(x86 / "sys/module")
    path = aging_path(look(Files(x86)))
    assert path.kind == "none"
    assert path.missing


@pytest.mark.parametrize(
    ("enabled", "version", "word"),
    [
        ("0x0007", "6.12", "asks KVM"),
        ("0x0007", "6.1", "host's own"),
        ("0x0000", "6.12", "off"),
    ],
)
def test_what_the_walk_sees(x86: Path, enabled: str, version: str, word: str) -> None:
    put(x86, "proc/sys/kernel/osrelease", f"{version}.9")
    put(x86, "sys/kernel/mm/lru_gen/enabled", enabled)
    assert any(word in remark for remark in aging_path(look(Files(x86))).remarks)


def test_costs_are_of_the_time_between(x86: Path) -> None:
    counts = {"workingset_refault_anon": 10, "pgsteal_anon": 100, "pgscan_file": 300}
    more = {"workingset_refault_anon": 30, "pgsteal_anon": 140, "pgscan_file": 400}
    costs = between(Reading(5, counts), Reading(8, more))
    assert (costs.seconds, costs.refaults, costs.reclaimed, costs.scanned) == (3, 20, 40, 100)
    assert costs.refault_share == 0.5
    assert between(None, Reading(8, more)).refaults == 30


def test_the_published_row_is_the_nearest() -> None:
    facts = facts_of("x86-6.12")
    found = published(facts)
    assert found is not None
    assert found == (1, *PUBLISHED[1])


def test_generations_are_read() -> None:
    found = lruvecs((TREES / "x86-6.12" / LRU_GEN.lstrip("/")).read_text())
    assert [(lruvec.memcg, lruvec.path, lruvec.node) for lruvec in found] == [
        (1, "/", 0),
        (2, "/vm", 0),
    ]
    assert found[1].generations[-1].anon == 1023


@given(st.text())
def test_any_generations_are_read_without_fail(text: str) -> None:
    assert all(lruvec.node >= 0 for lruvec in lruvecs(text))


def test_a_saved_tree_is_not_aged(x86: Path) -> None:
    with pytest.raises(InputError, match="saved tree"):
        age(Files(x86), "/vm")


class Live(Files):
    """A tree that is aged as a live host is; it says the same before and after."""

    live = True  # type: ignore[assignment]  # a property there

    def read(self, path: str) -> str:
        return (TREES / "x86-6.12" / path.lstrip("/")).read_text()


def test_one_pass_is_asked_for_in_the_kernels_words(x86: Path) -> None:
    passes = age(Live(x86), "/vm")
    assert (x86 / LRU_GEN.lstrip("/")).read_text() == "+ 2 0 3 1 1"
    assert [one.after.memcg for one in passes] == [2]
    with pytest.raises(InputError, match="no cgroup /other; there are: /, /vm"):
        age(Live(x86), "/other")


def test_what_is_no_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["host", "--root", str(tmp_path)]) == Exit.BAD_INPUT
    assert "no Linux" in capsys.readouterr().err
    assert main(["host", "--root", str(tmp_path / "none")]) == Exit.BAD_INPUT
    assert main(["host", "--root", str(tmp_path), "--sample", "1"]) == Exit.USAGE


@given(st.binary(max_size=200), st.sampled_from(["proc/cpuinfo", "proc/vmstat", "proc/uptime"]))
def test_damaged_files_are_no_crash(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    root = tmp_path_factory.mktemp("host")
    put(root, "proc/sys/kernel/osrelease", "6.12.1")
    (root / name).write_bytes(data)
    assert main(["host", "--root", str(root)]) == Exit.HOLDS


def test_the_page_and_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in SAVED:
        assert main(["host", "--root", str(TREES / name)]) == Exit.HOLDS
        page = capsys.readouterr().out
        assert "under mmu_lock" in page
        assert "lacks here" in page
        assert max(len(line) for line in page.splitlines()) <= 100
    saved = tmp_path / "saved"
    tree = str(TREES / "x86-6.12")
    assert main(["host", "--root", tree, "--json", "--save", str(saved)]) == Exit.HOLDS
    first = json.loads(capsys.readouterr().out)
    assert main(["host", "--root", str(saved), "--json"]) == Exit.HOLDS
    again = json.loads(capsys.readouterr().out)
    assert first["schema"] == "mkold.host/1"
    assert {k: v for k, v in first.items() if k != "root"} == again
    assert main(["host", "--root", tree, "--save", str(saved)]) == Exit.BAD_INPUT


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["host"]) == Exit.HOLDS
    assert "Linux" in capsys.readouterr().out
