"""Speed of each reader: ``python bench/inputs.py [MILLION_LINES]``. CPU time of one thread.

Text of each format is made once, a few thousand different lines over and over, and imported
from memory: cut into words, parsed, folded, pages numbered. To reach: 10 M lines in 10 s, in
memory that does not grow with the input.
"""

from __future__ import annotations

import io
import random
import resource
import sys
import time
from collections.abc import Callable

from mkold.trace.feed import Limits
from mkold.trace.fold import Folder
from mkold.trace.formats.door import convert

UNIT = 20_000  # different lines


def _lines(line: Callable[[random.Random, int], str]) -> str:
    chooser = random.Random(1)
    bases = (0x1FFF000000, 0x4200000, 0x4A11000, 0x7FFE10000000)
    return "".join(
        line(chooser, chooser.choice(bases) + chooser.randrange(1 << 20)) + "\n"
        for _ in range(UNIT)
    )


TEXTS: dict[str, Callable[[random.Random, int], str]] = {
    "lackey": lambda c, a: f" {c.choice('LSM')} {a:08x},{c.choice((1, 4, 8))}",
    "lackey, 2/3 fetches": lambda c, a: f"{c.choice(('I ', 'I ', ' L'))} {a:08x},4",
    "ADDRESS R|W": lambda c, a: f"{a:08x} {c.choice('RW')}",
    "R|W ADDRESS": lambda c, a: f"{c.choice('RW')} 0x{a:x}",
    "pinatrace": lambda c, a: f"0x55e6f0a01131: {c.choice('RW')} 0x{a:x}",
    "din": lambda c, a: f"{c.randrange(3)} {a:x}",
    "drmemtrace view": lambda c, a: (
        f"       {a % 99999:5}      {a % 9999:4}:     3256418 {c.choice(('read ', 'write'))}"
        f"        8 byte(s) @ 0x{a:016x} by PC 0x0000000000401003"
    ),
    "perf mem": lambda c, a: (
        f"  prog   100 [000]   10.{a % 999999:06}:   30  cpu/mem-loads,ldlat=30/P:  {a:16x}   "
        "10268100142 |OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A   5"
    ),
    "page faults": lambda c, a: (
        f"prog 1234 [001] 10.{a % 999999:06}:  1 page-faults:u: {a:16x} 55d0c0ffee10 "
        "main+0x10 (/usr/bin/prog)"
    ),
    "kvm_page_fault": lambda c, a: (
        f"  CPU {a % 4}/KVM-2216  [003]  12.{a % 999999:06}: kvm_page_fault: vcpu {a % 4} "
        f"rip 0xffffffff81000000 address 0x{a:016x} error_code 0x18{c.choice('12')}"
    ),
    "CSV": lambda c, a: f"{a >> 12},{c.choice(('true', 'false'))},{c.randrange(1, 40)}",
}


def measure(text: str, million: float) -> float:
    """CPU seconds for so many million lines."""
    head = "page,write,run\n" if text.count(",") == 2 * UNIT and "e," in text else ""
    body = (head + text * max(1, round(million * 1e6 / UNIT))).encode()
    start = time.process_time()
    with Folder() as folder:
        origin, _ = convert(io.BytesIO(body), "bench", folder, Limits(), lambda *_: None)
        folder.header(origin)
    return time.process_time() - start


def main() -> None:
    """Print seconds for 10 M lines of each format."""
    million = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    for name, line in TEXTS.items():
        text = _lines(line)
        seconds = measure(text, million)
        mb = len(text) / UNIT * million
        rate = f"{mb / seconds:4.0f} MB/s"
        print(f"{name:<22} {10 * seconds / million:6.1f} s for 10 M lines, {rate}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
