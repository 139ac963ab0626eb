"""The rig: the first file system, paths, and what is said when something is missing."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from mkold.base.errors import InputError
from mkold.validate.console import TroubleError, booted, command_line
from mkold.validate.rig import apt
from mkold.validate.rig.hosts import HOSTS, host
from mkold.validate.rig.initrd import make, module_files, with_dependencies
from mkold.validate.rig.setup import Rig, find


def module(folder: Path, name: str, depends: str, *, packed: bool = False) -> None:
    data = b"\x7fELF\0depends=" + depends.encode() + b"\0name=x\0"
    path = folder / "kernel" / (f"{name}.ko.xz" if packed else f"{name}.ko")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(lzma.compress(data) if packed else data)


def test_modules_come_behind_what_they_need(tmp_path: Path) -> None:
    module(tmp_path, "kvm-hv", "kvm,irqbypass")
    module(tmp_path, "kvm", "irqbypass", packed=True)
    module(tmp_path, "irqbypass", "")
    found = with_dependencies(module_files(tmp_path), ["kvm-hv", "built_in"])
    assert list(found) == ["irqbypass", "kvm", "kvm_hv"]
    assert found["kvm"].startswith(b"\x7fELF")


def test_the_archive_has_what_the_agent_wants(tmp_path: Path) -> None:
    module(tmp_path, "zram", "")
    (tmp_path / "agent").write_bytes(b"agent!")
    (tmp_path / "own.ko").write_bytes(b"own!")
    data = make(tmp_path / "agent", tmp_path, {"zram": "num_devices=1"}, tmp_path / "own.ko")
    assert data.startswith(b"070701")
    assert len(data) % 4 == 0
    for text in (b"init\0", b"agent!", b"mods/order\0", b"zram.ko num_devices=1\nown.ko\n"):
        assert text in data
    with pytest.raises(InputError, match="set-up"):
        make(tmp_path / "none", tmp_path, {}, None)


def test_what_is_not_whole_is_not_found(tmp_path: Path) -> None:
    assert find(tmp_path, host("power9"), "") is None
    place = tmp_path / "hosts" / "power9" / "6.12"
    place.mkdir(parents=True)
    for text in ("", "{}", '{"release": "x", "root": "."}', "[1]"):
        (place / "ready.json").write_text(text)
        assert find(tmp_path, host("power9"), "") is None


def test_apt_lists_what_it_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "linux-image-6.12.9+deb12-x - a\nlinux-image-6.12.95+deb12-x - b\n"
    monkeypatch.setattr(apt.Apt, "_run", lambda self, *words, **more: (0, names, ""))
    assert apt.Apt(tmp_path).names("x") == [
        "linux-image-6.12.95+deb12-x",
        "linux-image-6.12.9+deb12-x",
    ]


def test_a_package_that_is_gone_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: apt.Apt, *words: str, **more: object) -> tuple[int, str, str]:
        return 100, "", "E: Failed to fetch http://x 404 Not Found\n"

    monkeypatch.setattr(apt.Apt, "_run", gone)
    with pytest.raises(apt.GoneError, match="404"):
        apt.Apt(tmp_path).download(apt.File("x", "x.deb", 3), tmp_path)


@pytest.mark.parametrize("name", HOSTS)
def test_a_second_processor_has_no_tick_but_on_power(tmp_path: Path, name: str) -> None:
    rig = Rig(tmp_path, "6.12", tmp_path / "image", tmp_path, tmp_path / "agent",
              tmp_path / "agent")  # fmt: skip
    alone = command_line(host(name), rig, tmp_path, tmp_path)[-1].split()
    words = command_line(host(name), rig, tmp_path, tmp_path, running=True)[-1].split()
    assert "nohz_full=1" not in alone
    assert ("nohz_full=1" in words) is (host(name).arch != "powerpc")
    assert any(word.startswith("isolcpus=") for word in words)


@pytest.mark.parametrize("name", HOSTS)
def test_a_machine_that_does_not_run_is_no_verdict(tmp_path: Path, name: str) -> None:
    (tmp_path / "agent").write_bytes(b"")
    program = tmp_path / "usr/bin" / host(name).program
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho no such machine >&2\n")
    program.chmod(0o755)
    rig = Rig(tmp_path, "6.12", tmp_path / "image", tmp_path, tmp_path / "agent",
              tmp_path / "agent")  # fmt: skip
    assert command_line(host(name), rig, tmp_path, tmp_path)[0] == str(program)
    with (
        pytest.raises(TroubleError, match="no such machine"),
        booted(host(name), rig),
    ):
        pass
