"""Signals: heard once, alike, not in the middle of a step, and nothing outlives them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from mkold.base import signals

PREFACE = """
import os, sys, time, signal
from mkold.base import signals
from mkold.base.workers import each
def say(text):
    os.write(1, f"{text}\\n".encode())  # in one piece
"""
WAITS = """
with signals.heard(last=True):
    try:
        say("ready")
        time.sleep(30)
    except KeyboardInterrupt:
        time.sleep(0.5)
        say("cleaned")
"""
STEP = """
with signals.heard(last=True):
    try:
        with signals.whole():
            say("ready")
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                pass
            say("done")
        say("never")
    except KeyboardInterrupt:
        say("cleaned")
"""
LOST = """
class Loses:
    def __del__(self):
        say("ready")
        time.sleep(30)
with signals.heard(last=True):
    try:
        Loses()
        time.sleep(30)
    except KeyboardInterrupt:
        say("cleaned")
"""
WORKS = """
def work(n):
    say(os.getpid())
    time.sleep(60)
with signals.heard(last=True):
    try:
        list(each(work, [1, 2], jobs=2, hard_s=100, chunk=1))
    except KeyboardInterrupt:
        say("cleaned")
"""


def start(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREFACE + script], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("times", [1, 3])
def test_one_or_many_are_one(number: signal.Signals, times: int) -> None:
    process = start(WAITS)
    assert line(process) == "ready"
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    assert process.communicate(timeout=20) == ("cleaned\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(("script", "told"), [(STEP, "done\ncleaned\n"), (LOST, "cleaned\n")])
def test_a_step_is_whole_and_nothing_is_lost(script: str, told: str) -> None:
    process = start(script)
    assert line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == (told, "")


def test_what_was_ignored_stays_ignored() -> None:
    process = start("signal.signal(signal.SIGHUP, signal.SIG_IGN)" + WAITS)
    assert line(process) == "ready"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "cleaned\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_worker_lives_on(number: signal.Signals) -> None:
    process = start(WORKS)
    workers = [line(process), line(process)]
    process.send_signal(number)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_handlers_are_given_back() -> None:
    from mkold.base import signals

    before = [signal.getsignal(number) for number in signals.ENDING]
    with signals.heard(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in signals.ENDING] == before


def test_what_was_there_when_the_interrupt_came_is_taken() -> None:
    def gives() -> Generator[int]:
        try:
            yield from (1, 2, 3)
        except KeyboardInterrupt:
            yield 9
            raise

    taken: list[int] = []

    def take(one: int) -> None:
        taken.append(one)
        if one == 2:
            raise KeyboardInterrupt

    assert signals.until_interrupted(gives(), take)
    assert taken == [1, 2, 9]
    assert not signals.until_interrupted((one for one in (5,)), taken.append)


def test_interrupted_before_anything_is_an_interrupt() -> None:
    def gives() -> Generator[int]:
        raise KeyboardInterrupt
        yield 1

    with pytest.raises(KeyboardInterrupt):
        signals.until_interrupted(gives(), print)


@pytest.mark.parametrize(
    "keeps",
    [
        "threading.Thread(target=time.sleep, args=(99,)).start()",
        "atexit.register(time.sleep, 99)",
    ],
)
def test_nothing_keeps_a_process_that_is_done(keeps: str) -> None:
    code = (
        "import atexit, sys, threading, time\n"
        f"from mkold.base import signals\n{keeps}\n"
        "signals.LAST_S = 0.2\nsignals.end_soon(3)\nsys.exit(3)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], timeout=20, check=False)
    assert run.returncode == 3
