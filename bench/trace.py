"""Speed of the trace room: ``python bench/trace.py [MILLION_LINES]``. CPU time, medians.

Text like lackey's (two fetches for each access, stack and heap addresses) is made once and
parsed in the chunks in which a pipe gives it; the shipped traces are read back.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from mkold.trace import read_trace, shipped
from mkold.trace.fold import Folder, Origin
from mkold.trace.formats.lackey import parse

CHUNK = 1 << 16
REPEATS = 5


def text(n_lines: int) -> bytes:
    """Lines in lackey's mix of kinds and address lengths."""
    chooser = random.Random(1)
    bases = (0x1FFF000000, 0x4200000, 0x4A11000, 0x108000)
    lines = []
    for at in range(n_lines):
        address = chooser.choice(bases) + chooser.randrange(1 << 20)
        kind = "I " if at % 3 else chooser.choice((" L", " L", " S", " M"))
        lines.append(f"{kind} {address:08x},{chooser.choice((1, 4, 8, 8, 16))}\n")
    return "".join(lines).encode()


def chunks(body: bytes) -> Iterator[bytes]:
    """The text as a pipe gives it."""
    return (body[at : at + CHUNK] for at in range(0, len(body), CHUNK))


def import_all(body: bytes) -> None:
    """Parse, fold, and number the pages."""
    with Folder() as folder:
        for batch in parse(chunks(body)):
            folder.add(batch)
        folder.trace(Origin("bench", "bench"))


def parse_all(body: bytes) -> None:
    """Parse only."""
    for _ in parse(chunks(body)):
        pass


def median_cpu_s(work: Callable[[], object]) -> float:
    """Median CPU time of a few runs."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    """Print lines and rows a second."""
    n_lines = int(float(sys.argv[1] if len(sys.argv) > 1 else "2") * 1e6)
    body = text(n_lines)
    for name, work in (("parse", parse_all), ("parse and fold", import_all)):
        seconds = median_cpu_s(lambda work=work: work(body))  # type: ignore[misc]
        print(f"{name:<22} {n_lines / seconds / 1e6:6.2f} M lines/s  ({seconds:.2f} s)")
    for name, path in shipped().items():
        n_rows = len(read_trace(path))
        seconds = median_cpu_s(lambda path=path: read_trace(path))  # type: ignore[misc]
        print(f"read {name:<17} {n_rows / seconds / 1e6:6.2f} M rows/s   ({seconds:.2f} s)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
