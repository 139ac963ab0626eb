"""From a reader into a folder, until the end or a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mkold.base import signals
from mkold.trace.accesses import Accesses
from mkold.trace.fold import Folder, NoRoomError

NO_ROOM = "no room"  # the disk for what memory does not hold is full

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What to take: instruction fetches too, at most how many accesses; and the seed of what
    is drawn."""

    instructions: bool = False
    max_accesses: int | None = None
    seed: int = 1


def feed(parsed: Iterator[Accesses], folder: Folder, progress: Progress) -> str:
    """Give the folder all of it; say why it ended."""
    for batch in parsed:
        try:
            with signals.whole():
                folder.add(batch)
        except NoRoomError:
            return NO_ROOM
        progress(folder.n_accesses, folder.n_rows)
        if folder.full:
            return "max-accesses"
    return "end"
