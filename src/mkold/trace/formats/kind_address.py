"""``R|W ADDRESS [SIZE]``: what was done, and where.

::

    R 0x7ffe1000 8
    W 1a48
    load,0x00001a40

Addresses are hexadecimal, with or without ``0x``; commas part words as blanks do. ``M`` is a
load and a store, ``I`` an instruction fetch.

Source: course repositories on caches and page replacement.
"""

from __future__ import annotations

from mkold.trace.accesses import FETCH, MODIFY, READ, WRITE
from mkold.trace.formats.shape import Shape

_WORDS = {
    READ: ("r", "l", "ld", "read", "load"),
    WRITE: ("w", "s", "st", "write", "store"),
    MODIFY: ("m", "modify"),
    FETCH: ("i", "ifetch", "fetch", "instr"),
}
KINDS = {
    written.encode(): kind
    for kind, words in _WORDS.items()
    for word in words
    for written in (word, word.upper(), word.capitalize())
}
SHAPE = Shape(
    "a trace of R|W ADDRESS",
    ("kind", "address", "size?"),
    KINDS,
    hint="lines of this file are R or W, a hexadecimal address, and perhaps a size",
)
LINE = (
    rb"\s*([RWLSMIrwlsmi]|(?i:ld|st|read|write|load|store|ifetch|fetch|instr|modify))"
    rb"[\s,]+(0[xX])?[0-9a-fA-F]{1,16}([\s,]+\d{1,4})?\s*"
)
