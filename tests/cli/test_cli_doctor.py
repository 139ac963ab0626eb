"""``mkold doctor``: every line says what it is for; only essentials make it fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mkold.cli import doctor
from mkold.cli.main import main

Capture = pytest.CaptureFixture[str]


def test_json(capsys: Capture) -> None:
    assert main(["doctor", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "mkold.doctor/1"
    assert body["healthy"] is True
    names = {finding["name"] for finding in body["findings"]}
    assert {"cores", "memory", "pages", "llvmlite", "compile cache", "valgrind"} <= names
    for finding in body["findings"]:
        assert finding["use"]
        assert bool(finding["cost"]) == (finding["state"] != "ok")


def test_missing_tools_are_named_and_harmless(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "- valgrind" in out
    assert "apt install valgrind" in out


def test_a_broken_package_is_essential(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    real = doctor.importlib.import_module

    def broken(name: str) -> object:
        if name == "llvmlite.binding":
            raise OSError("libstdc++.so.6: version not found")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    code, out = main(["doctor"]), capsys.readouterr().out
    assert code == 3
    assert "! llvmlite" in out
    assert "without it: libstdc++.so.6: version not found" in out
    assert "1 essential" in out


def test_an_unwritable_cache_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MKOLD_CACHE_DIR", str(tmp_path / "file"))
    assert main(["doctor"]) == 0
    assert "set MKOLD_CACHE_DIR to a writable folder" in capsys.readouterr().out
