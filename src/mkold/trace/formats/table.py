"""The formats that are taken, and how an input's is found.

Rules
-----
1. A format is told by content, never by a file's name, and the first of the table that fits
   is it. Formats with words of their own come first; of the others at least half of the first
   lines that say anything must be of the format, special ones before general ones.
2. What no format knows is refused by the name of what it looks like, or else with the list of
   what is taken (``strangers``).
3. A reader is one file; this table is the only place that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mkold.trace.accesses import Accesses
from mkold.trace.formats import (
    address_kind,
    csv,
    damon,
    damon_event,
    damon_json,
    dinero,
    drmemtrace,
    kernel_faults,
    kind_address,
    lackey,
    load_store,
    lru_gen,
    parquet,
    perf_faults,
    perf_mem,
    pinatrace,
)
from mkold.trace.formats.reading import Reading
from mkold.trace.formats.strangers import stranger

HEAD_BYTES = 1 << 15
HEAD_LINES = 200
HEAD_COLUMNS = 400
_SILENT = (b"#", b"==", b"--", b"**")

SAMPLES, FAULTS, DRAWN = "samples", "faults", "no recording: drawn"
Read = Callable[[Iterable[bytes], Reading], Iterator[Accesses]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Parameters
    ----------
    name : as the user is told
    looks : whether the first bytes, and the lines of them that say anything, are of it
    read : the reader
    how : what its traces are, where they are not every access; goes into their headers
    said : what the user is told about every trace of it; may be empty
    """

    name: str
    looks: Callable[[bytes, list[bytes]], bool]
    read: Read
    how: str = ""
    said: str = ""

    def source(self, seed: int) -> str:
        """What the header of a trace says it is from."""
        how = f"{self.how}, seed {seed}" if self.how == DRAWN else self.how
        return f"{self.name} ({how})" if how else self.name


def _half(line: bytes) -> Callable[[bytes, list[bytes]], bool]:
    """Whether at least half of the lines are such a line, whole."""
    known = re.compile(line)

    def looks(head: bytes, lines: list[bytes]) -> bool:
        n_of_it = sum(known.fullmatch(line) is not None for line in lines)
        return 2 * n_of_it >= max(1, len(lines))

    return looks


_SHAPED = {
    "valgrind's lackey": lackey,
    "l|s 0xADDRESS": load_store,
    "R|W ADDRESS [SIZE]": kind_address,
    "ADDRESS R|W": address_kind,
    "Pin's pinatrace": pinatrace,
    "Dinero's din": dinero,
}
FORMATS = (
    Format("Parquet with a trace's columns", parquet.looks, parquet.read),
    Format("DAMON's records (JSON)", damon_json.LOOKS, damon_json.read, DRAWN, damon.SAID),
    Format("DAMON's trace event", damon_event.LOOKS, damon_event.read, DRAWN, damon.SAID),
    Format("DAMON's text", damon.LOOKS, damon.read, DRAWN, damon.SAID),
    Format("lru_gen", lru_gen.LOOKS, lru_gen.read, DRAWN, lru_gen.SAID),
    Format("DynamoRIO's drmemtrace view", drmemtrace.LOOKS, drmemtrace.read),
    Format("perf script of perf mem", perf_mem.LOOKS, perf_mem.read, SAMPLES, perf_mem.SAID),
    Format(
        "the kernel's fault events",
        kernel_faults.LOOKS,
        kernel_faults.read,
        FAULTS,
        kernel_faults.SAID,
    ),
    Format(
        "perf script of page faults",
        perf_faults.LOOKS,
        perf_faults.read,
        FAULTS,
        perf_faults.SAID,
    ),
    Format("CSV with a trace's columns", csv.looks, csv.read),
    *(Format(name, _half(module.LINE), module.SHAPE.read) for name, module in _SHAPED.items()),
)
_SILENT_INPUT = next(known for known in FORMATS if known.name == "valgrind's lackey")


def recognise(head: bytes, reading: Reading) -> Format:
    """The format of an input that begins with ``head``; lackey's where nothing is said.

    Raises
    ------
    SourceError : none that is taken
    """
    lines = [line[:HEAD_COLUMNS].rstrip(b"\r") for line in head.split(b"\n")[:HEAD_LINES]]
    telling = [line for line in lines if line.strip() and not line.startswith(_SILENT)]
    if not telling and b"\0" not in head:
        return _SILENT_INPUT
    for known in FORMATS:
        if known.looks(head, telling):
            return known
    raise stranger(head, [known.name for known in FORMATS], reading)
