"""The table of hosts: ``python bench/truth.py RIG [--steps 700] [--seed 21] [--only HOST]``.

Each host with each kernel that is set up below RIG is compared as ``mkold validate`` does it,
one after the other, and is a row as soon as it is done: how many bitmaps were compared on all
ways of mkold's system, how many differed, and seconds. What a host can be asked besides,
huge pages and a vCPU that runs on, are rows of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mkold.validate.rig.hosts import HOSTS, Host
from mkold.validate.rig.setup import find

WIDTHS = (18, 30, 10, 8, 8, 8)
TITLES = ("host", "Linux", "bitmaps", "differ", "boot, s", "steps, s")
MORE = {"plain": "", "huge": "--huge", "running": "--running"}


def can(host: Host, more: str) -> bool:
    """Whether it can be asked so."""
    return not more or (host.huge if more == "--huge" else not host.kind)


def jobs(rig: Path, only: str, asked: str) -> Iterator[tuple[str, str, str]]:
    """Hosts and kernels that are set up, and what more they are asked."""
    for more in [MORE[asked]] if asked else MORE.values():
        for host in HOSTS.values():
            for kernel in host.kernels:
                wanted = not only or host.name == only
                if wanted and can(host, more) and find(rig, host, kernel):
                    yield host.name, kernel, more


def row(args: argparse.Namespace, host: str, kernel: str, more: str) -> tuple[object, ...]:
    """One comparison; of one that failed, why."""
    words = [
        sys.executable, "-m", "mkold", "validate", "--json", "--rig", str(args.rig),
        "--host", host, "--kernel", kernel,
        "--steps", str(args.steps), "--seed", str(args.seed),
    ]  # fmt: skip
    done = subprocess.run([*words, *([more] if more else [])], capture_output=True, text=True)
    if not done.stdout:
        return f"{host} {more}", kernel, *["-"] * 3, done.stderr.strip().splitlines()[0]
    result = json.loads(done.stdout)["hosts"][0]
    bitmaps = sum(way["bitmaps"] for way in result["systems"])
    differ = sum(way["differ"] for way in result["systems"])
    boot, steps = f"{result['boot_s']:.0f}", f"{result['real_s']:.0f}"
    return f"{host} {more}", result["release"], f"{bitmaps:,}", differ, boot, steps


def line(cells: tuple[object, ...]) -> str:
    """A row of the table."""
    left = [f"{cell!s:<{width}}" for cell, width in zip(cells[:2], WIDTHS, strict=False)]
    right = [f"{cell!s:>{width}}" for cell, width in zip(cells[2:], WIDTHS[2:], strict=False)]
    return f"| {' | '.join([*left, *right])} |"


def main() -> None:
    """Print the table as it grows; 1 if anything differed or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rig", type=Path)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--only", default="", metavar="HOST")
    parser.add_argument("--asked", default="", choices=MORE)
    args = parser.parse_args()
    print(line(TITLES))
    print(line(tuple("-" * width for width in WIDTHS)))
    wrong = 0
    for host, kernel, more in jobs(args.rig, args.only, args.asked):
        cells = row(args, host, kernel, more)
        wrong += cells[3] != 0
        print(line(cells), flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
