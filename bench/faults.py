"""A campaign of faults: hostile files, signals, full disks, killed workers, little memory.

    python bench/faults.py [--seed 1] [--quick] [--kind litmus traces ...] [--scale 1.0]

Whatever comes in and whatever happens: no internal error (exit 70), no traceback, an end
within the limits; no process lives on, nothing half-written is left, nothing that was there
is lost. What breaks that is printed with the file that does it, which is kept; the rest is
counted. ``--quick`` takes seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hostile import claims, inputs, machine

Part = Callable[[int, int, Path, Callable[[str], None]], "Counter[str]"]
# What there is, how often in the whole campaign and in the quick one.
KINDS: dict[str, tuple[Part, int, int]] = {
    "litmus": (inputs.litmus, 30_000, 200),
    "traces": (inputs.traces, 4_000, 40),
    "texts": (inputs.texts, 3_500, 40),
    "claims": (claims.claims, 1_000, 15),
    "signals": (machine.signals, 300, 3),
    "faults": (machine.faults, 100, 3),
}


def campaign(
    kinds: list[str], seed: int, folder: Path, *, quick: bool, scale: float = 1.0,
    say: Callable[[str], None] = print,
) -> dict[str, Counter[str]]:  # fmt: skip
    """Run each kind; counts by kind, with ``wrong`` among them."""
    found = {}
    for kind in kinds:
        part, whole, few = KINDS[kind]
        place = folder / kind
        place.mkdir()
        began = time.monotonic()
        counts = part(max(1, int((few if quick else whole) * scale)), seed, place, say)
        found[kind] = counts
        said = ", ".join(f"{what} {n}" for what, n in sorted(counts.items()))
        say(f"{kind}: {said}; {time.monotonic() - began:.0f} s")
    return found


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description="mkold under faults.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer of each")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mkold-faults-"))
    found = campaign(
        given.kind, given.seed, folder, quick=given.quick, scale=given.scale,
        say=lambda text: print(text, flush=True),
    )  # fmt: skip
    wrong = sum(counts["wrong"] for counts in found.values())
    print(f"{wrong} of {sum(c['ran'] for c in found.values())} went wrong; files: {folder}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
