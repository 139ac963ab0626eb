"""Misses of LRU, clock and MIN on a trace: ``python bench/steady.py TRACE [FRAMES ...]``.

TRACE is a trace of ``mkold record`` or what it imports. Prints the misses at each number of
frames, and how long counting took.

A published course trace is a check from outside: ``bzip.trace.gz`` of the public repository
Aegizz/OSprac2 (a million accesses to 317 pages). LRU misses 92,770, 1,264, 771 and 397 times
at 4, 64, 128 and 256 frames there; those are the frames taken by default.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mkold.run.steady import lru_curve, misses
from mkold.trace import Trace, read_trace
from mkold.trace.feed import Limits
from mkold.trace.fold import Folder
from mkold.trace.formats.door import convert

FRAMES = (4, 64, 128, 256)


def load(path: Path) -> Trace:
    """A trace of ours, or one imported."""
    with path.open("rb") as file, Folder() as folder:
        if file.read(4) == b"PAR1":
            return read_trace(path)
        file.seek(0)
        origin, _ = convert(file, str(path), folder, Limits(), lambda *_: None)
        return folder.trace(origin)


def main() -> None:
    """Print a line for each number of frames."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    trace = load(Path(sys.argv[1]))
    print(f"{trace.n_accesses:,} accesses to {trace.n_pages:,} pages")
    print(f"{'frames':>9} {'LRU':>12} {'clock':>12} {'MIN':>12}  seconds")
    for frames in [int(word) for word in sys.argv[2:]] or FRAMES:
        start = time.process_time()
        found = misses(trace, frames)
        took = time.process_time() - start
        print(f"{frames:>9,} {found.lru:>12,} {found.clock:>12,} {found.min:>12,}  {took:7.2f}")
    start = time.process_time()
    lru_curve(trace)
    print(f"LRU at all sizes at once: {time.process_time() - start:.2f} s")


if __name__ == "__main__":
    main()
