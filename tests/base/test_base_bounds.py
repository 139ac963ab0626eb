"""Bounds on code of somebody else's, in this process."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import time

import pytest

from mkold.base.bounds import cpu_limit, memory, within
from mkold.base.errors import Exit, LimitError


def spin() -> None:
    while True:
        pass


def settings() -> tuple[object, ...]:
    return (
        signal.getsignal(signal.SIGPROF),
        signal.getsignal(signal.SIGALRM),
        signal.getitimer(signal.ITIMER_PROF),
        signal.getitimer(signal.ITIMER_REAL),
        resource.getrlimit(resource.RLIMIT_CPU),
        resource.getrlimit(resource.RLIMIT_AS),
    )


@pytest.mark.parametrize("code", [spin, lambda: time.sleep(30)])
def test_code_that_goes_on_is_stopped_where_it_stands(code) -> None:
    before, began = settings(), time.monotonic()
    with pytest.raises(LimitError, match=r"no end within 0\.2 s") as caught, within(0.2):
        code()
    assert caught.traceback[-1].name == "stop"
    assert caught.traceback[-2].frame.code.raw is code.__code__
    assert time.monotonic() - began < 20
    assert settings() == before


def test_what_ends_in_time_is_left_alone() -> None:
    before = settings()
    with within(10), memory(1 << 40):
        pass
    assert settings() == before


def test_code_that_catches_the_error_meets_it_again() -> None:
    def stubborn() -> None:
        with contextlib.suppress(LimitError):
            spin()
        spin()

    with pytest.raises(LimitError), within(0.1):
        stubborn()


def test_code_that_catches_all_of_them_ends_the_process() -> None:
    text = (
        "import time\nfrom mkold.base.bounds import within\n"
        "def go():\n    try:\n        time.sleep(60)\n    except BaseException: go()\n"
        "with within(0.1): go()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (Exit.UNDECIDED, "mkold: no end within 0.1 s\n")


def test_memory_is_bounded_and_given_back() -> None:
    before = settings()
    with pytest.raises(MemoryError), memory(1 << 33):
        bytearray(1 << 34)
    assert settings() == before


def test_a_lower_limit_than_ours_stays() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    low = 1 << 36
    try:
        resource.setrlimit(resource.RLIMIT_AS, (low, hard))
        with memory(1 << 40):
            assert resource.getrlimit(resource.RLIMIT_AS)[0] == low
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_code_in_a_library_that_never_comes_back_is_ended_with_a_word() -> None:
    code = (
        "from mkold.base.bounds import within\n"
        "with within(0.3, 'a file'):\n"
        "    sum(range(10**12))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (
        Exit.UNDECIDED,
        "mkold: a file: no end within 0.3 s\n",
    )


def test_a_process_that_has_run_for_long_keeps_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One was ended by SIGXCPU at 287 s of processor time with a limit of 290: the system's
    ticks were over three seconds ahead."""
    monkeypatch.setattr(time, "process_time", lambda: 286.7)
    assert cpu_limit(2.1) > 286.7 + 2.1 + 3.3
    monkeypatch.setattr(time, "process_time", lambda: 0.5)
    assert cpu_limit(2.1) <= 5
