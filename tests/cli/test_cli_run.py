"""``mkold run``: output, schema, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mkold.base.errors import Exit
from mkold.cli.main import main
from mkold.kvm.architectures import ARCHITECTURES
from mkold.trace import Header, Region, Trace, write_trace

QUICK = ["--duration", "0.9", "--rounds", "1", "--interval", "5", "--swap-latency", "2"]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred pages, read and written in turn."""
    page = np.tile(np.arange(400, dtype=np.uint32), 20)
    write = (np.arange(len(page)) % 3 == 0).astype(np.uint8)
    run = np.full(len(page), 4, np.uint32)
    total, n_writes = 4 * len(page), 4 * int(write.sum())
    header = Header(
        "made for a test", "2026-11-22T00:00:00Z", "test", "end", 0, False, 4096,
        total, total - n_writes, n_writes, len(page), 400, (Region(0, 400, 16),),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("run") / "small.parquet"
    write_trace(path, Trace(page, write, run, header))
    return path


def test_table_and_picture(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(trace), *QUICK]) == Exit.HOLDS
    out = capsys.readouterr().out
    for heading in ("none", "locked", "lockless", "lockless / locked", "95 % interval"):
        assert heading in out
    for row in ("guest accesses per second", "on swap", "refaults", "seen young", "p99.9"):
        assert row in out
    assert "lockless: pages by generation" in out
    assert "youngest generation" in out
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out, "no colour where there is no terminal"


def test_json(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(trace), *QUICK, "--json", "--paths", "lockless,none"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "mkold.run/2"
    (guest,) = body["guests"]
    assert [path["path"] for path in guest["paths"]] == ["lockless", "none"]
    assert guest["trace"]["name"] == str(trace)
    assert guest["interrupted"] is False


@pytest.mark.slow
def test_every_architecture_has_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = ["--workload", "scan", "-b", "2M", "--rounds", "1", "--duration", "0.6"]
    assert main(["run", "--arch", "all", *made]) == Exit.HOLDS
    out = capsys.readouterr().out
    rows = [line.split()[0] for line in out.splitlines() if line.split()]
    assert [row for row in rows if row in ARCHITECTURES] == list(ARCHITECTURES)
    assert main(["run", "--arch", "all", *made, "--mmu", "radix"]) == Exit.USAGE
    assert "one architecture" in capsys.readouterr().err


def test_output_file_is_not_overwritten(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken.json"
    taken.write_text("mine")
    assert main(["run", str(trace), *QUICK, "--json", "-o", str(taken)]) == Exit.BAD_INPUT
    assert "--force" in capsys.readouterr().err
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--vcpus", "99"], Exit.USAGE, "vCPUs"),
        (["--variant", "no_such"], Exit.USAGE, "as_posted"),
        (["--paths", "fast"], Exit.USAGE, "lockless"),
        (["--paths", ","], Exit.USAGE, "--paths"),
        (["--page-size", "2m"], Exit.USAGE, "64k"),
        (["--memory-share", "0"], Exit.USAGE, "--memory-share"),
        (["--seed", "-5"], Exit.USAGE, "below 0"),
        (["--tlb-entries", "1000"], Exit.USAGE, "power of two"),
        (["--workload", "zipf"], Exit.USAGE, "one of them"),
    ],
)
def test_senseless_options(
    trace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert main(["run", str(trace), *arguments]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_no_such_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no/such.parquet"]) == Exit.BAD_INPUT
    assert "no/such.parquet" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_is_resumed_and_drawn(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "sweep.parquet"
    command = ["run", str(trace), "--duration", "0.4", "--rounds", "1", "-o", str(table)]
    command += ["--swap-latency", "2", "--paths", "locked,lockless", "--sweep"]
    assert main([*command, "interval=5"]) == Exit.HOLDS
    written = pl.read_parquet(table)
    assert main([*command, "interval=5:10"]) == Exit.HOLDS
    assert "2 of 2 points" in capsys.readouterr().out
    found = pl.read_parquet(table)
    assert found["interval"].to_list() == [5, 5, 10, 10]
    assert found["path"].to_list() == ["locked", "lockless"] * 2
    assert found.head(2).select(written.columns).equals(written), (
        "what was there was not measured again"
    )
    assert "<svg" in table.with_suffix(".svg").read_text()
    assert main([*command, "interval=5", "--vcpus", "2"]) == Exit.BAD_INPUT
    assert "other options" in capsys.readouterr().err
    other = tmp_path / "other.parquet"
    other.with_suffix(".svg").write_text("mine")
    command[command.index("-o") + 1] = str(other)
    assert main([*command, "interval=5"]) == Exit.BAD_INPUT
    assert other.with_suffix(".svg").read_text() == "mine"
    assert main(["run", str(trace), "--sweep", "interval=5"]) == Exit.USAGE
    assert "-o sweep.parquet" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_shows_what_was_measured(trace: Path) -> None:
    command = [sys.executable, "-m", "mkold.cli.main", "run", str(trace), "--duration", "300"]
    process = subprocess.Popen(
        [*command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    try:
        _wait_until_replaying(process.pid)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, err = process.communicate(timeout=30)
        took = time.monotonic() - began
    finally:
        process.kill()
    assert process.returncode == Exit.INTERRUPTED, err
    assert took < 3, "a second, and some grace for a busy machine"
    assert "Traceback" not in err
    body = json.loads(out)
    assert body["guests"][0]["interrupted"] is True
    assert body["guests"][0]["paths"][0]["guest_accesses_per_s"] > 0


def _wait_until_replaying(pid: int) -> None:
    """Until the machine's threads have run for longer than the warm-up takes."""
    until = time.monotonic() + 90
    seen = 0
    while time.monotonic() < until and seen < 30:
        seen = seen + 1 if len(os.listdir(f"/proc/{pid}/task")) >= 3 else 0
        time.sleep(0.2)
