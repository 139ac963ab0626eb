"""CPU time to start: ``python bench/startup.py [REPEATS]``. Prints medians and minima."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "mkold --help": ["-m", "mkold", "--help"],
    "mkold --version": ["-m", "mkold", "--version"],
    "mkold run --help": ["-m", "mkold", "run", "--help"],
    "mkold check --help": ["-m", "mkold", "check", "--help"],
    "mkold litmus --help": ["-m", "mkold", "litmus", "--help"],
    "mkold record --help": ["-m", "mkold", "record", "--help"],
    "mkold doctor": ["-m", "mkold", "doctor"],
    # With a warm cache, this is the time until the guest replays, and 0.06 s of replay.
    "mkold run, one short": [
        "-m",
        "mkold",
        "run",
        "lookup",
        "--paths",
        "none",
        "--rounds",
        "1",
        "--duration",
        "0.06",
    ],
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one Python process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def main() -> None:
    """Alternate between the commands, so that a busy moment hits all alike."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            times[name].append(cpu_seconds(arguments))
    print(f"{'command':<22} {'median s':>9} {'min s':>7}   (CPU, {repeats} runs)")
    for name, values in times.items():
        print(f"{name:<22} {statistics.median(values):9.3f} {min(values):7.3f}")


if __name__ == "__main__":
    main()
