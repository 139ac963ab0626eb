"""What ``valgrind --tool=lackey --trace-mem=yes`` prints, and what coursework makes of it.

::

    I  04001000,3      instruction fetch: address, size
     L 1fff000778,8    load
     S 1fff000778,8    store
     M 0421c7c4,4      modify: a load and a store of the same place
    SB 04001000        entry into a superblock (--trace-superblocks=yes): no access

Lines that start with ``==``, ``--`` or ``**`` are valgrind's own chatter. Coursework strips
the blank before the kind, adds some at the end, or ends lines as Windows does.

Source: valgrind 3.19, ``lackey/lk_main.c`` (its opening comment) and what it prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mkold.trace.accesses import FETCH, MODIFY, NO_ACCESS, READ, WRITE, Accesses
from mkold.trace.formats.reading import Reading
from mkold.trace.formats.shape import Shape

SHAPE = Shape(
    "lackey's memory trace",
    ("kind", "address", "size"),
    {b"L": READ, b"S": WRITE, b"M": MODIFY, b"I": FETCH, b"SB": NO_ACCESS},
    chatter=(b"==", b"--", b"**", b"#"),
    hint="the program's own output may be mixed in: record with --log-file=FILE, so that "
    "lackey's lines go elsewhere",
)
LINE = rb"\s*([LSMI]\s+(0[xX])?[0-9a-fA-F]{1,16}\s*,\s*\d{1,4}|SB\s+[0-9a-fA-F]+)\s*"


def parse(
    chunks: Iterable[bytes],
    *,
    name: str = "<lackey>",
    instructions: bool = False,
    cut: bool = False,
) -> Iterator[Accesses]:
    """Parse lackey's text; see ``Shape.read``."""
    return SHAPE.read(chunks, Reading(name, instructions=instructions, cut=cut))
