"""``ADDRESS R|W``: an address and then what was done, as courses on paging hand them out.

::

    00001a40 R
    0x2a44 W

Addresses are hexadecimal, with or without ``0x``. A size in bytes may follow.

Source: ``bzip.trace.gz``, ``gcc.trace.gz`` and their like in public course repositories.
"""

from __future__ import annotations

from mkold.trace.formats.kind_address import KINDS
from mkold.trace.formats.shape import Shape

SHAPE = Shape(
    "a trace of ADDRESS R|W",
    ("address", "kind", "size?"),
    KINDS,
    hint="lines of this file are a hexadecimal address and then R or W",
)
LINE = (
    rb"\s*(0[xX])?[0-9a-fA-F]{1,16}[\s,]+"
    rb"([RWrwLSls]|(?i:read|write|load|store))([\s,]+\d{1,4})?\s*"
)
