"""Litmus tests against herd7: agreement, speed, growth.

::

    python bench/litmus.py check DIR       every disagreement, and an agreement table
    python bench/litmus.py speed DIR       CPU time against herd7's, full and verdict only
    python bench/litmus.py families DIR    cost as a family grows by one thread
    python bench/litmus.py loops DIR       tests with loops, one by one, against the herd7 on
                                           the PATH

DIR holds tests and ``expected.csv`` with herd7's answer and CPU time for each: columns
path, observation, states, flags (joined by ``;``), full_status, full_cpu_s, fast_status,
fast_observation, fast_cpu_s. Without DIR, the environment variable MKOLD_LITMUS_CORPUS
names it.

herd7 is measured at its best: ``--startup-ms`` is taken off each row, as if it ran as one
process over all tests. mkold runs as one process with one job, start-up included. A herd7
on the PATH is run too, alternating with mkold, on a sample.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mkold.base.workers import Died, each
from mkold.herd.job import Options, Outcome, decide_file

HERD_LIMIT_S = 20.0
FLOOR_S = 0.0005  # what is left of a herd7 run is at least this


@dataclass(frozen=True)
class Row:
    """herd7 on one test; times as measured, start-up included."""

    path: str
    observation: str
    states: int | None
    flags: tuple[str, ...]
    full_ok: bool
    full_s: float
    fast_ok: bool
    fast_observation: str
    fast_s: float


def read_rows(folder: Path) -> list[Row]:
    """The rows of ``expected.csv``."""
    with (folder / "expected.csv").open(newline="") as file:
        return [_row(record) for record in csv.DictReader(file)]


def _row(record: dict[str, str]) -> Row:
    return Row(
        record["path"],
        record["observation"],
        int(record["states"]) if record["states"] else None,
        tuple(sorted(filter(None, record["flags"].split(";")))),
        record["full_status"] == "ok",
        float(record["full_cpu_s"] or HERD_LIMIT_S),
        record["fast_status"] == "ok",
        record["fast_observation"],
        float(record["fast_cpu_s"] or HERD_LIMIT_S),
    )


# --- agreement ---------------------------------------------------------------------------


def differences(row: Row, outcome: Outcome) -> list[str]:
    """What mkold says otherwise than herd7; empty where herd7 says nothing."""
    if outcome.observation is None:
        return [] if outcome.status == "timeout" else [outcome.reason.splitlines()[0]]
    found = []
    if row.full_ok:
        pairs: list[tuple[str, object, object]] = [
            ("observation", row.observation, outcome.observation),
            ("states", row.states, outcome.n_states),
            ("flags", row.flags, outcome.flags),
        ]
        found = [f"{what}: herd7 {a}, mkold {b}" for what, a, b in pairs if a != b]
    elif row.fast_ok and (row.fast_observation == "Never") != (outcome.observation == "Never"):
        found = [f"observation: herd7 {row.fast_observation}, mkold {outcome.observation}"]
    return found


def check(args: argparse.Namespace) -> int:
    """Compare every test; return 1 if any disagrees or is refused."""
    rows = chosen(args)
    decide = partial(decide_file, options=Options(timeout_s=args.timeout))
    paths = [str(args.folder / row.path) for row in rows]
    table: Counter[tuple[str, str]] = Counter()
    bad: list[tuple[str, str]] = []
    slow: list[str] = []
    hard_s = args.timeout * 1.5 + 3
    for index, outcome in each(decide, paths, jobs=args.jobs, hard_s=hard_s):
        row = rows[index]
        group = (row.observation or "herd7 timeout") if row.full_ok else "herd7 timeout"
        if isinstance(outcome, Died):
            outcome = Outcome(row.path, "timeout", hard_s, outcome.cause)
        found = differences(row, outcome)
        what = "disagrees" if found and outcome.status == "ok" else outcome.status
        table[group, "agrees" if what == "ok" else what] += 1
        if outcome.status == "timeout":
            slow.append(row.path)
        for text in found:
            bad.append((row.path, text))
            print(f"{row.path}: {text}", flush=True)
    print_agreement(table)
    if slow:
        print(f"\nno answer within {args.timeout:g} s:", *slow, sep="\n  ")
    print(
        f"\n{len(rows)} tests, {len({path for path, _ in bad})} with a disagreement or refused"
    )
    return int(bool(bad))


def print_agreement(table: Counter[tuple[str, str]]) -> None:
    """A row for each answer of herd7's."""
    columns = sorted({column for _, column in table})
    print(f"\n{'herd7 says':<16}" + "".join(f"{column:>14}" for column in columns))
    for group in sorted({group for group, _ in table}):
        print(f"{group:<16}" + "".join(f"{table[group, column]:>14}" for column in columns))


def chosen(args: argparse.Namespace) -> list[Row]:
    """The rows to run: all, those that match, or every n-th."""
    rows = read_rows(args.folder)
    if args.match:
        rows = [row for row in rows if re.search(args.match, row.path)]
    if args.sample and args.sample < len(rows):
        step = len(rows) / args.sample
        rows = [rows[int(i * step)] for i in range(args.sample)]
    return rows


# --- speed -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """mkold over many tests as one process: CPU in all, and of each decided test."""

    cpu_s: float
    each_s: dict[str, float]
    status: dict[str, str]
    states: dict[str, int | None]


def run_mkold(folder: Path, rows: Sequence[Row], *, verdict_only: bool) -> Run:
    """Run the command line once over all tests, one job."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "tests"
        listed.write_text("".join(f"{folder / row.path}\n" for row in rows))
        out = Path(scratch) / "out.json"
        command = [
            sys.executable, "-m", "mkold.cli.main", "litmus", f"@{listed}", "--jobs", "1",
            "--json", "-o", str(out), "--timeout", str(HERD_LIMIT_S),
        ]  # fmt: skip
        command += ["--verdict-only"] * verdict_only
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        records = [json.loads(line) for line in out.read_text().splitlines()]
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    prefix = f"{folder}/"
    names = [record["path"].removeprefix(prefix) for record in records]
    return Run(
        cpu_s,
        {name: record["cpu_s"] for name, record in zip(names, records, strict=True)},
        {name: record["status"] for name, record in zip(names, records, strict=True)},
        {name: record["states"] for name, record in zip(names, records, strict=True)},
    )


def speed(args: argparse.Namespace) -> int:
    """Print the comparison for both modes."""
    rows = chosen(args)
    startup_s = args.startup_ms / 1000
    if args.mode in ("full", "both"):
        compare_full(args.folder, rows, startup_s)
    if args.mode in ("verdict", "both"):
        compare_verdict(args.folder, rows, startup_s)
    if shutil.which("herd7"):
        alternate(args.folder, rows)
    return 0


def herd_s(measured_s: float, startup_s: float) -> float:
    """herd7's time without its start-up."""
    return max(measured_s - startup_s, FLOOR_S)


def compare_full(folder: Path, rows: Sequence[Row], startup_s: float) -> None:
    """All final states."""
    decided = [row for row in rows if row.full_ok and row.full_s <= HERD_LIMIT_S]
    others = [row for row in rows if row not in set(decided)]
    run = run_mkold(folder, decided, verdict_only=False)
    herd = sum(herd_s(row.full_s, startup_s) for row in decided)
    print(f"\nall states, {len(decided)} tests that herd7 decides within {HERD_LIMIT_S:g} s")
    print_ratio(run.cpu_s, herd)
    slower = [
        (run.each_s.get(row.path, HERD_LIMIT_S), herd_s(row.full_s, startup_s), row.path)
        for row in decided
        if row.full_s - startup_s > 0.5
        and run.each_s.get(row.path, HERD_LIMIT_S) > row.full_s - startup_s
    ]
    print(f"  slower than herd7 on {len(slower)} of the tests over 0.5 s")
    for mine, theirs, path in sorted(slower, reverse=True):
        print(f"    mkold {mine:8.2f} s   herd7 {theirs:8.2f} s   {path}")
    late = [row.path for row in decided if run.status.get(row.path) != "ok"]
    print(f"  not decided by mkold: {len(late)}", *late, sep="\n    ")
    print_undecided(folder, others, verdict_only=False)


def compare_verdict(folder: Path, rows: Sequence[Row], startup_s: float) -> None:
    """Verdict only, against herd7 -speedcheck fast."""
    easy = [row for row in rows if row.fast_ok and row.fast_s < 0.1]
    hard = [row for row in rows if not row.fast_ok or row.fast_s > 1]
    run = run_mkold(folder, easy, verdict_only=True)
    herd = sum(herd_s(row.fast_s, startup_s) for row in easy)
    print(f"\nverdict only, {len(easy)} tests under 0.1 s")
    print_ratio(run.cpu_s, herd)
    print(f"  each: mkold {run.cpu_s / len(easy) * 1e3:.2f} ms")
    run = run_mkold(folder, hard, verdict_only=True)
    print(f"verdict only, {len(hard)} tests over 1 s or undecided")
    for row in hard:
        mine, theirs = run.each_s.get(row.path, HERD_LIMIT_S), row.fast_s - startup_s
        mark = "" if mine <= theirs / 10 and run.status.get(row.path) == "ok" else "  <-- over"
        print(f"    mkold {mine:8.3f} s   herd7 {theirs:8.2f} s   {row.path}{mark}")
    print_undecided(folder, [row for row in rows if not row.full_ok], verdict_only=True)


def print_ratio(mkold: float, herd: float) -> None:
    """One line: both times and how they compare."""
    print(f"  mkold {mkold:.2f} s, herd7 {herd:.2f} s, mkold / herd7 = {mkold / herd:.3f}")


def print_undecided(folder: Path, rows: Sequence[Row], *, verdict_only: bool) -> None:
    """What mkold makes of the tests on which herd7 runs out of time."""
    if not rows:
        return
    run = run_mkold(folder, rows, verdict_only=verdict_only)
    done = [row for row in rows if run.status.get(row.path) == "ok"]
    what = "decides" if verdict_only else "lists the states of"
    print(
        f"  of {len(rows)} that herd7 leaves undecided in full mode, mkold {what} {len(done)}"
    )
    for row in rows:
        if row not in set(done):
            print(f"    not: {row.path}")


def alternate(folder: Path, rows: Sequence[Row], n: int = 30) -> None:
    """herd7 of this machine and mkold, one test after the other."""
    sample = [row for row in rows if row.full_ok][:: max(1, len(rows) // n)]
    mine = theirs = 0.0
    for row in sample:
        path = str(folder / row.path)
        theirs += _cpu_of(["herd7", "-conf", "linux-kernel.cfg", path])
        started = time.process_time()
        decide_file(path, Options())
        mine += time.process_time() - started
    print(f"\nalternating with the herd7 on the PATH, {len(sample)} tests, start-up in herd7's")
    print_ratio(mine, theirs)


def loops(args: argparse.Namespace) -> int:
    """The tests of a folder that have loops: herd7 and mkold in turns, the least of three."""
    columns = ("herd7", "mkold", "as a command")
    print(f"{'test':<28}" + "".join(f"{column:>14}" for column in columns))
    total = [0.0, 0.0, 0.0]
    for path in sorted(args.folder.glob("*.litmus")):
        text = path.read_text()
        if not re.search(r"\bwhile\b", text) or not re.search(args.match or "", path.name):
            continue
        least = [HERD_LIMIT_S] * 3
        for _ in range(3):
            started = time.process_time()
            decide_file(str(path), Options())
            mine = time.process_time() - started
            theirs = _cpu_of(["herd7", "-conf", "linux-kernel.cfg", str(path)])
            command = _cpu_of([sys.executable, "-m", "mkold.cli.main", "litmus", str(path)])
            least = list(map(min, least, (theirs, mine, command)))
        total = [a + b for a, b in zip(total, least, strict=True)]
        print(
            f"{path.stem:<28}" + "".join(f"{seconds:>14.3f}" for seconds in least), flush=True
        )
    print(f"{'all':<28}" + "".join(f"{seconds:>14.3f}" for seconds in total))
    return 0


def _cpu_of(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, check=False, capture_output=True, timeout=3 * HERD_LIMIT_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- families ----------------------------------------------------------------------------


def family(path: str) -> tuple[str, int]:
    """A name in which repeated parts are one, and how many parts there are."""
    folder, _, stem = path.removesuffix(".litmus").rpartition("/")
    parts = re.split(r"\+(?=RW|RR|WW|R-|OB|O-|l-)", stem)
    kinds: list[str] = []
    for part in parts:
        if not kinds or kinds[-1] != part:
            kinds.append(part)
    return f"{folder}/{'+'.join(kinds)}", len(parts)


def families(args: argparse.Namespace) -> int:
    """Cost by size, for families of few kinds of parts and enough sizes; one test a size."""
    groups: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in chosen(args):
        name, size = family(row.path)
        groups[name].setdefault(size, row)
    table = [
        (name, size, row)
        for name, members in sorted(groups.items())
        if len(members) >= args.at_least and name.count("+") < args.kinds
        for size, row in sorted(members.items())
    ]
    rows = [row for _, _, row in table]
    full = run_mkold(args.folder, rows, verdict_only=False)
    fast = run_mkold(args.folder, rows, verdict_only=True)
    startup_s = args.startup_ms / 1e3
    heads = ("herd7 full", "mkold full", "herd7 fast", "mkold fast")
    print(f"{'family':<36}{'parts':>6}{'states':>9}" + "".join(f"{h:>12}" for h in heads))
    for name, size, row in table:
        costs = (
            shown(row.full_s - startup_s, row.full_ok),
            shown(full.each_s[row.path], full.status[row.path] == "ok"),
            shown(row.fast_s - startup_s, row.fast_ok),
            shown(fast.each_s[row.path], fast.status[row.path] == "ok"),
        )
        states = full.states.get(row.path) or "?"
        print(f"{name[-35:]:<36}{size:>6}{states:>9}" + "".join(f"{c:>12}" for c in costs))
    return 0


def shown(seconds: float, decided: bool) -> str:
    """Seconds, or ``> 20`` where the tool gave up."""
    return f"{max(seconds, 0):.3f}" if decided else f"> {HERD_LIMIT_S:g}"


def main(argv: Iterable[str] | None = None) -> int:
    """Run one of the four."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("check", "speed", "families", "loops"))
    parser.add_argument(
        "folder", nargs="?", type=Path, default=os.environ.get("MKOLD_LITMUS_CORPUS")
    )
    parser.add_argument("--sample", type=int, help="so many tests, evenly spread")
    parser.add_argument("--match", help="only paths that match this expression")
    parser.add_argument("--timeout", type=float, default=HERD_LIMIT_S, metavar="S")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--mode", choices=("full", "verdict", "both"), default="both")
    parser.add_argument("--startup-ms", type=float, default=12.0)
    parser.add_argument("--at-least", type=int, default=4, help="sizes of a family")
    parser.add_argument("--kinds", type=int, default=2, help="kinds of parts of a family")
    args = parser.parse_args(None if argv is None else list(argv))
    if args.folder is None:
        parser.error("name a folder, or set MKOLD_LITMUS_CORPUS")
    args.folder = Path(args.folder)
    commands = {"check": check, "speed": speed, "families": families, "loops": loops}
    return commands[args.what](args)


if __name__ == "__main__":
    sys.exit(main())
