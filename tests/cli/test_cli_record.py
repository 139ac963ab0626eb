"""``mkold record``: importing, and what it says about bad input."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mkold.cli.main import main
from mkold.trace import read_trace

Capture = pytest.CaptureFixture[str]
TEXT = b"==1== Lackey\nI  1000,3\n L 2000,8\n S 2008,8\n L 9ffc,8\n==1== bye\n"


def test_import_a_file(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.txt").write_bytes(TEXT)
    out = tmp_path / "t"
    assert main(["record", "-o", str(out), "--import", str(tmp_path / "x.txt")]) == 0
    trace = read_trace(out)
    assert trace.page.tolist() == [0, 0, 1, 2]
    assert trace.write.tolist() == [0, 1, 0, 0]
    shown = capsys.readouterr()
    assert "4 accesses (3 reads, 1 writes) to 3 pages" in shown.err
    assert shown.out == ""


def test_import_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(TEXT)))
    arguments = ["record", "-o", str(tmp_path / "t"), "--instructions", "--import", "-"]
    assert main(arguments) == 0
    assert read_trace(tmp_path / "t").header.instructions
    assert read_trace(tmp_path / "t").n_accesses == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no memory accesses found"),
        (b"==1== only chatter\n", "no memory accesses found"),
        (b"I  1000,4\n", "no memory accesses found"),
        (TEXT + b"hello\n", "x.txt:7:1: error: this is not a line of lackey's"),
        (TEXT + b" L 10", "x.txt:7:6: error: the size is missing"),
        (TEXT + b" L 1000,-4\n", "x.txt:7:9: error: the size is not a number"),
        (b"\x7fELF\x00\x01\n", "x.txt:1:1: error: this looks like a program (ELF)"),
        (b"once upon\na time\n", "no format that is taken has such lines"),
    ],
)
def test_bad_text_leaves_nothing(
    tmp_path: Path, text: bytes, message: str, capsys: Capture
) -> None:
    (tmp_path / "x.txt").write_bytes(text)
    arguments = ["record", "-o", str(tmp_path / "t"), "--import", str(tmp_path / "x.txt")]
    assert main(arguments) == 3
    assert message in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.txt"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "t"], 2, "say what to record"),
        (["-o", "t", "--import", "x", "--", "true"], 2, "not both"),
        (["--", "true"], 2, "required: -o"),
        (["-o", "t", "--max-accesses", "0", "--", "true"], 2, "not at least 1"),
        (["-o", "t", "--import", "nosuch"], 3, "can't read nosuch: No such file"),
        (["-o", "t", "--import", "."], 3, "can't read .: Is a directory"),
        (["-o", ".", "--", "true"], 3, "is a directory"),
        (["-o", "taken", "--", "true"], 3, "taken exists; use --force"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    assert main(["record", *arguments]) == code
    assert message in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
