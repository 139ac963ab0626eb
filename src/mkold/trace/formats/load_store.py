"""``l|s 0xADDRESS [N]``: loads and stores as courses on caches hand them out.

::

    l 0x1fffff50 1
    s 0x00002a44

Known by small ``l`` and ``s`` and an address with ``0x``. The number that may follow is how
many instructions lie between, not a size: it is passed over, and an access has one byte.

Source: the SPEC traces (``gcc.trace``, ``swim.trace``) of course repositories on caches.
"""

from __future__ import annotations

from mkold.trace.accesses import READ, WRITE
from mkold.trace.formats.shape import Shape

SHAPE = Shape(
    "a trace of l|s 0xADDRESS",
    ("kind", "address", "other?"),
    {b"l": READ, b"s": WRITE},
    hint="lines of this file are l or s, a hexadecimal address, and perhaps a number",
)
LINE = rb"\s*[ls]\s+0[xX][0-9a-fA-F]{1,16}(\s+\d{1,9})?\s*"
