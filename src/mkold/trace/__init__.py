"""Memory traces of real programs: recording, reading, writing, and two that ship.

``schema``   what a trace is: rows, header, regions
``accesses`` what readers hand on
``fold``     merges accesses into runs and numbers the pages, in bounded memory
``parquet``  traces on disk
``feed``     from a reader into a folder
``formats/`` readers of what other tools recorded, and the door to them
``valgrind/`` runs a program under valgrind
``shipped``  the traces in ``data/``

Imports only ``mkold.base``.
"""

from mkold.trace.parquet import read_header, read_trace, write_trace
from mkold.trace.schema import PAGE_SIZE, Header, Region, Trace
from mkold.trace.shipped import find_trace, shipped

__all__ = [
    "PAGE_SIZE",
    "Header",
    "Region",
    "Trace",
    "find_trace",
    "read_header",
    "read_trace",
    "shipped",
    "write_trace",
]
