"""What Pin's example tool ``pinatrace`` and its many offspring print.

::

    0x7f52a1b0: R 0x7ffd2c10                        instruction, kind, address
    0x401136: W 0x7ffe00f8  8 0x401150              ... size, and the value
    #eof

Known by the address of the instruction before the kind, with a colon or without one. A size
may follow, then values, which are passed over. The instructions themselves are not accesses:
the tool does not print those that touch no memory.

Source: Pin's ``source/tools/ManualExamples/pinatrace.cpp`` and
``SimpleExamples/pinatrace.cpp``, by what they print.
"""

from __future__ import annotations

from mkold.trace.formats.kind_address import KINDS
from mkold.trace.formats.shape import Shape

SHAPE = Shape(
    "Pin's pinatrace",
    ("other", "kind", "address", "size?"),
    KINDS,
    separators=b":,",
    more=True,
    hint="lines of this file are an instruction's address, R or W, and an address",
)
LINE = (
    rb"\s*(0[xX])?[0-9a-fA-F]{1,16}\s*[:,\s]\s*([RWrwLSls]|(?i:read|write|load|store))"
    rb"[\s,:]+((0[xX])?[0-9a-fA-F]{1,16}|\(nil\))([\s,]+\d{1,4}([\s,].*)?)?\s*"
)
