"""The formats that are taken, and how an input's is found.

Rules
-----
1. A format is told by content, never by a file's name: it is the first of the table that at
   least half of the first lines are of, those that say anything. So special formats stand
   before the general ones that have them as a case.
2. What no format knows is refused by the name of what it looks like, or else with the list of
   what is taken (``strangers``).
3. A reader is one file; this table is the only place that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mkold.trace.accesses import Accesses
from mkold.trace.formats import address_kind, dinero, kind_address, lackey, pinatrace
from mkold.trace.formats.reading import Reading
from mkold.trace.formats.strangers import stranger

HEAD_BYTES = 1 << 16
HEAD_LINES = 200
_SILENT = (b"#", b"==", b"--", b"**")

Read = Callable[[Iterable[bytes], Reading], Iterator[Accesses]]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Parameters
    ----------
    name : as the user is told
    line : what a line of it looks like, whole
    read : the reader
    said : what the user is told about every trace of it; may be empty
    """

    name: str
    line: re.Pattern[bytes]
    read: Read
    said: str = ""


_SHAPED = {
    "valgrind's lackey": lackey,
    "R|W ADDRESS [SIZE]": kind_address,
    "ADDRESS R|W": address_kind,
    "Pin's pinatrace": pinatrace,
    "Dinero's din": dinero,
}
FORMATS = tuple(
    Format(name, re.compile(module.LINE), module.SHAPE.read) for name, module in _SHAPED.items()
)


def recognise(head: bytes, reading: Reading) -> Format:
    """The format of an input that begins with ``head``; the first one where nothing is said.

    Raises
    ------
    SourceError : none that is taken
    """
    lines = [line.rstrip(b"\r") for line in head.split(b"\n")[:HEAD_LINES]]
    telling = [line for line in lines if line.strip() and not line.startswith(_SILENT)]
    if not telling and b"\0" not in head:
        return FORMATS[0]
    for known in FORMATS:
        n_of_it = sum(known.line.fullmatch(line) is not None for line in telling)
        if 2 * n_of_it >= max(1, len(telling)):
            return known
    raise stranger(head, [known.name for known in FORMATS], reading)
