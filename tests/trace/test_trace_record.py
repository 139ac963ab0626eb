"""Recording real programs; most of it needs valgrind."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mkold.base.errors import InputError, UsageError
from mkold.trace.feed import Limits
from mkold.trace.fold import Folder
from mkold.trace.formats.door import convert
from mkold.trace.valgrind.logs import SPACE_SHIFT
from mkold.trace.valgrind.record import record

needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None, reason="valgrind is not installed"
)


def quiet(n_accesses: int, n_rows: int) -> None:
    """No progress."""


@needs_valgrind
def test_records_a_program_apart_from_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    with Folder() as folder:
        origin, _ = record(
            ["sh", "-c", "echo out; echo err >&2; exit 3"], folder, Limits(), quiet
        )
        header = folder.trace(origin).check().header
    assert capfd.readouterr() == ("out\n", "err\n")
    assert header.command == "sh -c 'echo out; echo err >&2; exit 3'"
    assert header.exit_status == 3
    assert header.stopped == "end"
    assert header.source.startswith("valgrind-")
    assert header.n_accesses > 10_000
    assert 20 < header.n_pages < 1000


@needs_valgrind
def test_the_bound_ends_the_program() -> None:
    with Folder(max_accesses=5000) as folder:
        origin, _ = record(
            ["sh", "-c", "while :; do :; done"], folder, Limits(max_accesses=5000), quiet
        )
        trace = folder.trace(origin).check()
    assert trace.n_accesses == 5000
    assert trace.header.stopped == "max-accesses"
    assert trace.header.exit_status is None


@needs_valgrind
def test_a_daemon_left_behind_does_not_hold_the_recording() -> None:
    start = time.monotonic()
    with Folder() as folder:
        origin, _ = record(["sh", "-c", "sleep 30 & exit 0"], folder, Limits(), quiet)
    assert origin.stopped == "end"
    assert time.monotonic() - start < 20


@needs_valgrind
@pytest.mark.parametrize("option", [[], ["--instructions"]])
def test_a_repeated_recording_is_the_same(tmp_path: Path, option: list[str]) -> None:
    """valgrind's layout is fixed, so a plain program gives the same trace again."""
    totals = []
    for _ in range(2):
        with Folder() as folder:
            record(["true"], folder, Limits(instructions=bool(option)), quiet)
            totals.append(folder.n_accesses)
    assert abs(totals[0] - totals[1]) < totals[0] / 50


@pytest.mark.slow
@needs_valgrind
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_stopping_keeps_what_was_recorded(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C reaches all processes of the terminal, a SIGTERM only mkold."""
    out = tmp_path / "t.parquet"
    code = "import sys; from mkold.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", code, "record", "-o", str(out), "--"),
            *("sh", "-c", "echo on; while :; do :; done"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    time.sleep(0.5)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stopped early: interrupted" in errors
    assert b"Traceback" not in errors
    from mkold.trace import read_header

    assert read_header(out).stopped == "interrupted"
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_missing_valgrind_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with Folder() as folder, pytest.raises(InputError, match="apt install valgrind"):
        record(["true"], folder, Limits(), quiet)


@needs_valgrind
def test_no_such_program() -> None:
    with Folder() as folder, pytest.raises(UsageError, match="no such program: nosuch"):
        record(["nosuch"], folder, Limits(), quiet)


def test_a_valgrind_that_fails_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "valgrind"
    fake.write_text("#!/bin/sh\n[ $1 = --version ] && echo v1 && exit 0\nexit 7\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Folder() as folder, pytest.raises(InputError, match="status 7"):
        record(["true"], folder, Limits(), quiet)


def test_import_counts_and_stops_at_the_bound() -> None:
    text = io.BytesIO(b"==1== x\nI  1000,3\n L 2000,8\n M 3000,8\n" * 100)
    with Folder(max_accesses=7) as folder:
        origin, said = convert(text, "x.txt", folder, Limits(max_accesses=7), quiet)
        header = folder.trace(origin).check().header
    assert (header.n_accesses, header.n_reads, header.n_writes) == (7, 5, 2)
    assert (header.command, header.stopped) == ("x.txt", "max-accesses")
    assert said[0] == "x.txt: read as valgrind's lackey"
    assert said[1].startswith("left out: 100 instruction fetches")


# -- children ---------------------------------------------------------------------------------


@needs_valgrind
def test_children_are_named_where_they_are_left_out() -> None:
    with Folder() as folder:
        _, notes = record(["sh", "-c", "sleep 0.3; true"], folder, Limits(), quiet)
    assert notes == [
        "not in the trace: the program started 1 other programs that were seen (sleep); "
        "--children records them too"
    ]


@pytest.mark.slow
@needs_valgrind
def test_children_are_recorded_each_in_its_own_space() -> None:
    with Folder() as folder:
        origin, notes = record(
            ["sh", "-c", "ls / > /dev/null; exit 3"], folder, Limits(), quiet, children=True
        )
        trace = folder.trace(origin).check()
    names = notes[0].partition(": ")[2].split(", ")
    assert set(names) == {"sh", "ls"}  # and perhaps the fork of sh that became ls
    assert trace.header.exit_status == 3
    spaces = trace.vpn()[trace.page] >> np.uint64(SPACE_SHIFT)
    counts = np.bincount(spaces.astype(np.intp), weights=trace.run)
    assert len(counts) == len(names)
    assert sorted(counts)[-2] > 50_000


FAKE = """\
#!/bin/sh
if [ "$1" = --version ]; then echo valgrind-9; exit 0; fi
for option in "$@"; do
  case "$option" in
    --log-file=*) folder="${option#--log-file=}"; folder="${folder%/%p}" ;;
    --log-fd=*) fd="${option#--log-fd=}" ;;
  esac
done
"""


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A valgrind that prints what it is told to."""
    path = tmp_path / "valgrind"
    path.write_text(FAKE + script)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def spaces_and_pages(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    fake(tmp_path, monkeypatch, script)
    with Folder() as folder:
        origin, notes = record(["true"], folder, Limits(), quiet, children=True)
        trace = folder.trace(origin).check()
    vpn = trace.vpn()
    return notes, [(r >> SPACE_SHIFT, r % (1 << SPACE_SHIFT)) for r in vpn[trace.page].tolist()]


def test_the_same_address_of_two_processes_is_two_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """\
printf '==7== Lackey\\n==7== Command: /bin/gcc -c x\\n L 1000,8\\n' > $folder/7
sleep 0.1
printf '==8== Command: /lib/cc1 x\\n S 1000,8\\n S 2000,8' > $folder/8
sleep 0.1
printf '\\n' >> $folder/8
"""
    notes, pages = spaces_and_pages(script, tmp_path, monkeypatch)  # type: ignore[misc]
    assert pages == [(0, 1), (1, 1), (1, 2)]
    assert notes == ["2 address spaces, one a process and program: gcc, cc1"]


def test_a_process_that_becomes_another_program_has_a_new_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """\
printf '==7== Command: sh -c x\\n L 1000,8\\n' > $folder/7
sleep 0.2
printf '==7== Command: ls -l with more words\\n L 1000,8\\n L 3000,8\\n' > $folder/7
"""
    notes, pages = spaces_and_pages(script, tmp_path, monkeypatch)  # type: ignore[misc]
    assert pages == [(0, 1), (1, 1), (1, 3)]
    assert notes == ["2 address spaces, one a process and program: sh, ls"]


def test_a_log_that_is_damaged_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "printf ' L 1000,8\\nhello\\n' > $folder/7\n"
    with pytest.raises(InputError, match="log of process 7:2:1: error: this is not a line"):
        spaces_and_pages(script, tmp_path, monkeypatch)
