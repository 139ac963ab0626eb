"""``mkold litmus``: text, JSON, exit codes, limits, pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mkold.cli.main import main

VECTORS = Path(__file__).parents[1] / "litmus" / "vectors"
SB = str(VECTORS / "sb.litmus")


def test_text_is_herds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["litmus", SB]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "Test sb Allowed",
        "States 4",
        "0:r0=0; 1:r0=0;",
        "0:r0=0; 1:r0=1;",
        "0:r0=1; 1:r0=0;",
        "0:r0=1; 1:r0=1;",
    ]
    assert lines[6:11] == [
        "Ok",
        "Witnesses",
        "Positive: 1 Negative: 3",
        "Condition exists (0:r0=0 /\\ 1:r0=0)",
        "Observation sb Sometimes 1 3",
    ]
    assert lines[11].startswith("Time sb ")


def test_another_engine(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*options: str) -> list[str]:
        assert main(["litmus", SB, *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if not line.startswith("Time")]

    assert said("--engine", "literal") == said()
    assert main(["litmus", SB, "--engine", "mask"]) == 2
    assert "did you mean masks" in capsys.readouterr().err


def test_no_execution_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["litmus", str(VECTORS / "lock-leak.litmus")]) == 0
    out = capsys.readouterr().out
    assert "States 0\nNo\n" in out
    assert "Observation lock-leak Never 0 0" in out
    assert "Note hang" in out
    assert "Flag" not in out


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(VECTORS / "plain-race-ww.litmus")
    assert main(["litmus", path, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["path"] == path
    assert record["test"] == "plain-race-ww"
    assert record["observation"] == "Sometimes"
    assert record["states"] == 2
    assert record["flags"] == ["data-race"]
    assert record["status"] == "ok"
    assert record["cpu_s"] >= 0, "of so small a test a coarse clock sees nothing"
    assert record["final"] == ["[x]=1;", "[x]=2;"]


def test_verdict_only_lists_no_states(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["litmus", SB, "--verdict-only"]) == 0
    out = capsys.readouterr().out
    assert "States" not in out
    assert "Observation sb Sometimes" in out


def test_one_bad_file_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.litmus").write_text("C a\n{ }\nP0(int *x) { asm(x); }\nexists (x=1)\n")
    (tmp_path / "b.litmus").write_text("nonsense\n")
    (tmp_path / "c.litmus").write_text(Path(SB).read_text())
    assert main(["litmus", str(tmp_path), "--json"]) == 3
    captured = capsys.readouterr()
    status = {
        Path(record["path"]).name: record["status"]
        for record in map(json.loads, captured.out.splitlines())
    }
    assert status == {"a.litmus": "unsupported", "b.litmus": "error", "c.litmus": "ok"}
    assert "a.litmus:3:14: error: 'asm'" in captured.err
    assert "3 of 3 tests" in captured.err


def test_a_test_that_takes_too_long_is_undecided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "abc"
    bodies = [
        "".join(
            f" r{j} = READ_ONCE(*{names[j % 3]});"
            f" WRITE_ONCE(*{names[(j + i) % 3]}, {9 * i + j});"
            for j in range(6)
        )
        for i in range(6)
    ]
    threads = "".join(
        f"P{i}(int *a, int *b, int *c)\n{{\n{body}\n}}\n" for i, body in enumerate(bodies)
    )
    path = tmp_path / "big.litmus"
    path.write_text("C big\n{}\n" + threads + "exists (0:r0=77)\n")
    began = time.monotonic()
    code = main(["litmus", str(path), "--timeout", "0.5"])
    assert time.monotonic() - began < 20
    assert code == 4
    assert "Undecided big" in capsys.readouterr().out


def test_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["litmus", "no-such.litmus"]) == 3
    assert "can't read no-such.litmus" in capsys.readouterr().err


def test_a_list_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = tmp_path / "list"
    listed.write_text(f"# two\n{SB}\n{VECTORS / 'sb-mb.litmus'}\n")
    assert main(["litmus", f"@{listed}", "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    assert "Observation sb Sometimes" in out
    assert "Observation sb-mb Never" in out


def test_output_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["litmus", SB, "-o", str(out)]) == 0
    assert "Observation sb" in out.read_text()
    assert main(["litmus", SB, "-o", str(out)]) == 3
    assert main(["litmus", SB, "-o", str(out), "--force"]) == 0


def test_explain_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, dot = tmp_path / "a.svg", tmp_path / "a.dot"
    path = str(VECTORS / "mp-wmb-rmb.litmus")
    args = ["litmus", path, "--explain", "--svg", str(svg), "--dot", str(dot)]
    assert main(args) == 0
    out = capsys.readouterr().out
    assert "forbidden by happens-before" in out
    assert "READ_ONCE(*y)" in out
    assert svg.read_text().startswith("<svg ")
    assert dot.read_text().startswith("digraph")


def test_pictures_need_one_test() -> None:
    assert main(["litmus", SB, SB, "--svg", "x.svg"]) == 2


def test_interrupt_keeps_what_was_decided(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mkold.cli.main", "litmus", "-o", str(out), "--jobs", "1"]
    process = subprocess.Popen(
        [*command, *[SB] * 3000], stderr=subprocess.PIPE, env={**os.environ}
    )
    deadline = time.monotonic() + 30
    # What is written lies beside the file until the end.
    while not any(part.stat().st_size for part in tmp_path.glob(".mkold-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"interrupted" in err
    assert "Observation sb Sometimes" in out.read_text()
