"""What may go wrong outside: closed streams, odd names, full disks, signals. Never 70."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mkold.cli.main import main
from mkold.trace import Header, Region, Trace, write_trace

VECTORS = Path(__file__).parents[1] / "litmus" / "vectors"
SB = VECTORS / "sb.litmus"
LACKEY = " L 1000,4\n S 2000,4\n"
MKOLD = [sys.executable, "-m", "mkold"]
Capture = pytest.CaptureFixture[str]


def mkold(*words: str, before: Callable[[], None] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [*MKOLD, *words], capture_output=True, text=True, errors="replace", timeout=300,
        check=False, preexec_fn=before, env=os.environ,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def small_files() -> None:
    """A disk with room for 2,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_are_as_dev_null(closed: tuple[int, ...]) -> None:
    def close() -> None:
        for fd in closed:
            os.close(fd)

    assert mkold("litmus", str(SB), before=close)[0] == 0
    assert mkold("litmus", "none.litmus", before=close)[0] == 3


@pytest.mark.parametrize(
    "words",
    [
        ["litmus", "NAME"], ["run", "NAME"], ["check", "NAME.py"], ["litmus", "@NAME"],
        ["litmus", str(SB), "-o", "NAME"], ["record", "--import", "NAME", "-o", "x"],
        ["record", "--import", str(SB), "-o", "NAME"], ["doctor", "-o", "NAME"],
    ],
)  # fmt: skip
def test_a_name_that_is_too_long(words: list[str], capsys: Capture) -> None:
    assert main([word.replace("NAME", "n" * 300) for word in words]) == 3
    assert "File name too long" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["run"], ["litmus"], ["check"]])
def test_a_pipe_that_nobody_writes_to(words: list[str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    assert main([*words, str(pipe)]) == 3


def test_names_that_are_no_pattern_and_no_utf8(tmp_path: Path, capsys: Capture) -> None:
    text = tmp_path / "lackey.txt"
    text.write_text(LACKEY)
    folder = tmp_path / os.fsdecode(b"a\xff[1]")
    folder.mkdir()
    trace = str(folder / "x[2]*.parquet")
    assert main(["record", "--import", str(text), "-o", trace]) == 0
    assert r"a\xff[1]/x[2]*.parquet: 2 accesses" in capsys.readouterr().err
    from mkold.trace import read_trace

    assert read_trace(trace).n_accesses == 2


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "out"
    old.write_text("old")
    tests = sorted(map(str, VECTORS.glob("*.litmus")))[:40]
    code, said = mkold("litmus", *tests, "-o", str(old), "--force", before=small_files)
    assert (code, old.read_text()) == (3, "old")
    assert f"can't write {old}: File too large" in said
    assert list(tmp_path.iterdir()) == [old]


def test_a_full_disk_keeps_the_recording(tmp_path: Path) -> None:
    text, target, spare = tmp_path / "text", Path("/dev/full"), tmp_path / "spare"
    spare.mkdir()
    text.write_text(LACKEY)
    import tempfile

    before, tempfile.tempdir = tempfile.tempdir, str(spare)
    try:
        assert main(["record", "--import", str(text), "-o", str(target)]) == 3
    finally:
        tempfile.tempdir = before
    (kept,) = spare.iterdir()
    from mkold.trace import read_trace

    assert read_trace(kept).n_accesses == 2


def test_no_memory_to_write_a_trace_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20))

    text = tmp_path / "text"
    text.write_text(LACKEY)
    code, said = mkold("record", "--import", str(text), "-o", f"{tmp_path}/t", before=little)
    assert code == 4, said
    assert "out of memory" in said or "short" in said
    assert list(tmp_path.iterdir()) == [text]


def test_a_bad_place_is_said_before_the_work(tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "no" / "folder" / "x"
    assert main(["litmus", "none.litmus", "-o", str(target)]) == 3
    err = capsys.readouterr().err
    assert "none.litmus" not in err
    assert f"can't write {target}: No such file" in err


@pytest.mark.slow
def test_what_a_trace_says_is_shown_not_obeyed(tmp_path: Path, capsys: Capture) -> None:
    from mkold.view.run import run_text  # noqa: F401 the verb loads it

    header = Header(
        "\x1b]0;x\x07\x1b[31m", "2026-01-01", "test", "end", None, False, 4096, 2, 1, 1, 2, 1,
        (Region(0, 1, 7),),
    )  # fmt: skip
    ones = np.ones(2, np.uint32)
    trace = Trace(0 * ones, np.array([1, 0], np.uint8), ones, header)
    path = tmp_path / "t.parquet"
    write_trace(path, trace)
    words = ["--duration", "0.2", "--rounds", "1", "--paths", "none"]
    assert main(["run", str(path), *words]) == 0
    out = capsys.readouterr().out
    assert r"\x1b]0;x" in out  # the line may be cut behind it
    assert "\x1b" not in out


def test_memory_is_compared_before_it_is_taken(capsys: Capture) -> None:
    for limit, what in (("3M", "rows need"), ("219M", "a machine for lookup needs")):
        words = ["run", "lookup", "--memory-limit", limit, "--duration", "0.2"]
        assert main(words) == 4
        err = capsys.readouterr().err
        assert what in err
        assert "are allowed (--memory-limit" in err


@pytest.mark.parametrize("value", ["1e18", "0", "nan", "inf"])
def test_times_that_no_clock_has(value: str) -> None:
    assert main(["litmus", str(SB), "--timeout", value]) == 2


def living(group: int) -> list[str]:
    """What of a process group runs still; who is dead and not yet waited for does not."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            state, _, its_group = rest.split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(name)
    return found


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["litmus", *[str(SB)] * 4000],
        ["run", "--duration", "30"],
    ],
)
def test_a_signal_ends_every_verb_and_nothing_is_left(
    words: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*MKOLD, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    time.sleep(2.0)
    for _ in range(2):
        process.send_signal(number)
        time.sleep(0.05)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    until = time.monotonic() + 5
    while living(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert living(process.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_outlives_a_run_that_decides_nothing(tmp_path: Path) -> None:
    old, bad = tmp_path / "old.txt", tmp_path / "bad.litmus"
    old.write_text("kept\n")
    bad.write_text("C bad\n{}\nP0(int *x) { nonsense(; }\nexists (0:r0=0)\n")
    assert main(["litmus", str(bad), "-o", str(old), "--force"]) == 3
    assert old.read_text() == "kept\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.litmus", "old.txt"]


@pytest.mark.slow
def test_it_runs_from_an_archive_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mkold as package

    folder = Path(package.__file__).parent
    archive = shutil.make_archive(str(tmp_path / "mkold"), "zip", folder.parent, folder.name)
    for name in ("MKOLD_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("PYTHONPATH", archive)
    monkeypatch.chdir(tmp_path)
    read = "from mkold.trace import *; print(read_trace(find_trace('lookup')).n_pages)"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, check=True)
    assert int(done.stdout) > 2000
    assert mkold("check", "5", "--list")[0] == 0
    assert mkold("litmus", str(SB))[0] == 0


@pytest.mark.slow  # all is compiled anew
def test_nothing_can_be_kept_of_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKOLD_CACHE_DIR", "/dev/null/none")
    words = ["--duration", "0.2", "--rounds", "1", "--paths", "none", "--vcpus", "1"]
    assert mkold("run", "lookup", *words)[0] == 0
