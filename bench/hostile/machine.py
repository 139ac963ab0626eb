"""Faults of the machine: signals at random times, full disks, workers killed, little memory.

Each run is a process of its own in a folder of its own. Whatever hits it, nothing that it
started may live on, nothing but whole results may be left, and a file that was there before is
either as it was or replaced whole.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hostile import ran
from hostile.claims import SOURCE
from hostile.inputs import Say

END_S = 60.0
PYTHON_STARTS_S = 0.15  # of processor time
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OLD = "what was there before\n"
_ROOT = Path(__file__).parents[2]
_SLOW = """C heavy
{}
P0(int *x, int *y) { int r; r = READ_ONCE(*y); r = READ_ONCE(*y); WRITE_ONCE(*x, 1); }
P1(int *x, int *y) { int r; r = READ_ONCE(*x); WRITE_ONCE(*y, 1); WRITE_ONCE(*y, 2); }
exists (x=1)
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """What was done to a run.

    ``early``: a signal came when Python itself was starting and mkold did not listen yet; it
    then ends the process as it ends any.
    """

    what: str
    early: bool = False


def prepared(folder: Path) -> list[tuple[str, ...]]:
    """Commands to be hit, and the files that they need."""
    claims, tests, lines = folder / "claims.py", folder / "tests", folder / "lines.txt"
    claims.write_text(SOURCE.replace("WHICH", "0"))
    tests.mkdir()
    for i in range(40):
        (tests / f"{i}.litmus").write_text(_SLOW)
    lines.write_text("".join(f" L {i << 12:08x},8\n" for i in range(200_000)))
    return [
        ("check", str(claims), "-o", "OUT.html"),
        ("check", str(claims), "--json"),
        ("check", str(claims), "--torture", "--rounds", "50000"),
        ("check", "5", "-o", "OUT.txt"),
        ("litmus", str(tests), "-o", "OUT.txt"),
        ("record", "--import", str(lines), "-o", "OUT.parquet"),
        ("record", "-o", "OUT.parquet", "--max-accesses", "2M", "--", sys.executable, "-c", ""),
        ("run", "lookup", "--duration", "1", "--rounds", "1"),
        ("run", "lookup", "--duration", "1", "--rounds", "1", "-o", "OUT.html"),
        ("doctor", "-o", "OUT.txt"),
    ]


def signals(n: int, seed: int, folder: Path, say: Say) -> Counter[str]:
    """One signal, or two, at a random time."""
    rng = random.Random(f"signals {seed}")

    def hit(process: subprocess.Popen[str]) -> Hit:
        number = rng.choice(SIGNALS)
        after = rng.choice((rng.uniform(0, 0.4), rng.uniform(0, 4)))
        time.sleep(after)
        early = ran.used_s(process.pid) < PYTHON_STARTS_S and not ran.listens(process.pid)
        process.send_signal(number)
        twice = rng.random() < 0.2
        if twice:
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(number)
        what = f"{number.name}{' twice' * twice} after {after:.2f} s"
        return Hit(what, early)

    return _each(n, rng, folder, say, hit)


def faults(n: int, seed: int, folder: Path, say: Say) -> Counter[str]:
    """A worker killed, no room on the disk, or little memory."""
    rng = random.Random(f"faults {seed}")

    def kill(process: subprocess.Popen[str]) -> Hit:
        ends = time.monotonic() + rng.uniform(0.5, 3)
        while time.monotonic() < ends and process.poll() is None:
            for child in ran.children(process.pid)[:1]:
                if rng.random() < 0.1:
                    os.kill(child, signal.SIGKILL)
                    return Hit("a worker killed")
            time.sleep(0.02)
        return Hit("no worker killed")

    def nothing(process: subprocess.Popen[str]) -> Hit:
        return Hit("its limits")

    counts: Counter[str] = Counter()
    for number in range(n):
        low = rng.choice((
            {}, {resource.RLIMIT_FSIZE: rng.choice((0, 100, 4096))},
            {resource.RLIMIT_AS: rng.choice((300, 500, 800, 1500)) << 20},
        ))  # fmt: skip
        part = folder / str(number)
        part.mkdir()
        counts += _each(1, rng, part, say, nothing if low else kill, low)
    return counts


def _each(
    n: int, rng: random.Random, folder: Path, say: Say,
    hit: Callable[[subprocess.Popen[str]], Hit], low: dict[int, int] | None = None,
) -> Counter[str]:  # fmt: skip
    commands = prepared(folder)
    counts: Counter[str] = Counter()
    for number in range(n):
        place = folder / f"run{number}"
        place.mkdir()
        argv = [word.replace("OUT", str(place / "out")) for word in rng.choice(commands)]
        output = next((Path(word) for word in argv if word.startswith(str(place))), None)
        if output is not None and rng.random() < 0.5:
            output.write_text(OLD)
            argv.insert(1, "--force")
        word = f"{os.getpid()}-{folder.name}-{number}"
        process = ran.started(word, place, *argv, preexec_fn=_limiting(low or {}))
        what = hit(process)
        done = ran.ended(process, END_S)
        counts["ran"] += 1
        counts[f"exit {done.code}"] += 1
        early = what.early and "mkold" not in done.err
        counts["early"] += early
        wrong = ["" if early else done.wrong(), *_left(word, place, output, done)]
        if any(wrong):
            counts["wrong"] += 1
            said = "; ".join(text for text in wrong if text)
            say(f"{' '.join(argv)}: {what.what}, limits {low or {}}: {said}")
    return counts


def _limiting(low: dict[int, int]) -> Callable[[], None]:
    def limit() -> None:
        for number in SIGNALS:  # a campaign in the background was started without some of them
            signal.signal(number, signal.SIG_DFL)
        for kind, size in low.items():
            resource.setrlimit(kind, (size, size))

    return limit


def _left(word: str, place: Path, output: Path | None, done: ran.Ran) -> list[str]:
    """What lives on, what is left, what is lost."""
    wrong = [f"process {pid} lives on" for pid in ran.survivors(word)]
    names = {path.name for path in place.iterdir()}
    if output is not None:
        names.discard(output.name)
        if output.exists() and not output.stat().st_size:
            wrong.append(f"{output.name} is empty")
    wrong += [f"{name} is left" for name in sorted(names)]
    return wrong
