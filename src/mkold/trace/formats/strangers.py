"""What is not taken, by name: so that a refusal says what the file looks like."""

from __future__ import annotations

import re

from mkold.base.errors import SourceError
from mkold.trace.formats.reading import Reading

_MAGIC = {
    b"\x7fELF": ("a program (ELF)", "record it: mkold record -o FILE -- PROGRAM"),
    b"PERFILE2": ("perf's own perf.data", "perf script prints it as text, which is taken"),
    b"\x17\x08\x44tracing": (
        "trace-cmd's own trace.dat",
        "trace-cmd report prints it as text, which is taken",
    ),
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it first"),
    b"SQLite format 3": ("an SQLite database", ""),
    b"%PDF": ("a PDF document", ""),
    b"\x89HDF": ("an HDF5 file", "write its columns as CSV or Parquet"),
    b"ARROW1": ("an Arrow file", "write its columns as Parquet"),
    b"\xd4\xc3\xb2\xa1": ("a capture of network packets", ""),
    b"\x93NUMPY": ("a NumPy array", "write its columns as CSV or Parquet"),
    b"!<arch>": ("an archive of object files", ""),
}
_TEXT = (
    (rb"(?m)^(desc|cmd|creator|events): ", "a profile of cachegrind, callgrind or massif",
     "these hold sums, not accesses; valgrind --tool=lackey --trace-mem=yes has them"),
    (rb"\b(maj|min)fault \[", "perf trace's page faults",
     "its addresses are places in files: perf record -d -e page-faults has them"),
    (rb"(?m)^\w+\([^\n]*\)\s+= (-?\d|0x)", "strace's output",
     "system calls are no memory accesses"),
    (rb"(?m)^[ \t]*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d+\s+\d+\s+[A-Z]\s", "blkparse's output",
     "requests to a disk are no memory accesses"),
    (rb"(?m)^\d{15,},\w+,\d+,(Read|Write),", "a block trace of MSR Cambridge's form",
     "requests to a disk are no memory accesses"),
    (rb"(?m)^[0-9a-f]+-[0-9a-f]+ [r-][w-][x-][ps] ", "a process's memory map",
     "a map says what may be accessed, not what was"),
    (rb"(?m)^[ \t]*\d+: system\.\S+: ", "gem5's debug output", ""),
    (rb"(?m)^core +\d+: (3 )?0x", "the log of spike, the RISC-V simulator", ""),
    (rb"(?mi)^[ \t]*<(\?xml|!doctype|html)", "a web page or XML", ""),
    (rb"^#!|(?m:^#include|^(def|import|class) )", "the source of a program",
     "record it: mkold record -o FILE -- PROGRAM"),
)  # fmt: skip


def stranger(head: bytes, taken: list[str], reading: Reading) -> SourceError:
    """The refusal of an input that begins with ``head``."""
    first = head.split(b"\n", 1)[0]
    known = "taken are: " + ", ".join(taken)
    for magic, (what, hint) in _MAGIC.items():
        if head.startswith(magic):
            return reading.wrong(0, first, 1, f"this looks like {what}", hint or known)
    for pattern, what, hint in _TEXT:
        if re.search(pattern, head):
            return reading.wrong(0, first, 1, f"this looks like {what}", hint or known)
    if b"\0" in head:
        return reading.wrong(0, first, 1, "this is binary, and of no kind that is known", known)
    return reading.wrong(0, first, 1, "no format that is taken has such lines", known)
