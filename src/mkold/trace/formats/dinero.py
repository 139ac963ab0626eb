"""``din``, the traditional input of the Dinero cache simulators.

::

    2 401000       0 read, 1 write, 2 instruction fetch; then the address in hexadecimal
    0 10001008
    1 10002010

Labels 3 (unknown) and 4 (flush) are no accesses. What follows the address is Dinero's to
ignore, and ignored here; an access has one byte, since the format gives no size.

Source: the Dinero IV manual page, ``-informat d`` (and Dinero III).
"""

from __future__ import annotations

from mkold.trace.accesses import FETCH, NO_ACCESS, READ, WRITE
from mkold.trace.formats.shape import Shape

SHAPE = Shape(
    "Dinero's din",
    ("kind", "address"),
    {b"0": READ, b"1": WRITE, b"2": FETCH, b"3": NO_ACCESS, b"4": NO_ACCESS},
    more=True,
    hint="lines of this file are a label from 0 to 4 and a hexadecimal address",
)
LINE = rb"\s*[0-4]\s+(0[xX])?[0-9a-fA-F]{1,16}(\s+[^\s\d].*|\s+\d{1,3})?\s*"
