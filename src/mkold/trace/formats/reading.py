"""What every reader of text shares: blocks of whole lines, wrong lines shown, what is noted.

A last line without its newline is a line like any other; where the stream was cut on purpose
it is dropped. A line longer than ``MAX_LINE_BYTES`` is refused before it is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mkold.base.errors import Pos, SourceError

BLOCK_BYTES = 1 << 18  # fits the cache better than more, and hides the cost per block
MAX_LINE_BYTES = 1 << 16
_SHOWN = 80


@dataclass(slots=True)
class Reading:
    """One input being read.

    Parameters
    ----------
    name : the file, for messages
    instructions : keep instruction fetches, as reads
    cut : the stream was cut on purpose: drop an unfinished last line
    seed : of what is drawn, where the input is a distribution
    line : number of the first line of the block at hand
    left_out : what was left out of the trace, and how many
    notes : what else the user is told
    """

    name: str
    instructions: bool = False
    cut: bool = False
    seed: int = 1
    line: int = 1
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def wrong(self, at: int, raw: bytes, col: int, reason: str, hint: str = "") -> SourceError:
        """An error at line ``at`` (from 0) of the block at hand."""
        pos = Pos(self.name, self.line + at, min(col, _SHOWN))
        return SourceError(reason, pos, excerpt(raw), hint)


def blocks(chunks: Iterable[bytes], reading: Reading) -> Iterator[bytes]:
    """Text in blocks of whole lines; ``reading.line`` follows.

    Raises
    ------
    SourceError : a line is too long
    """
    held: list[bytes] = []
    n_held = 0
    for chunk in chunks:
        held.append(chunk)
        n_held += len(chunk)
        if n_held < BLOCK_BYTES:
            continue
        text = b"".join(held)
        end = text.rfind(b"\n") + 1
        if end:
            yield text[:end]
            reading.line += text.count(b"\n", 0, end)
        if len(text) - end > MAX_LINE_BYTES:
            raise _too_long(text[end : end + 2 * _SHOWN], reading)
        held, n_held = [text[end:]], len(text) - end
    text = b"".join(held)
    end = text.rfind(b"\n") + 1
    if end < len(text) and not reading.cut:
        text, end = text + b"\n", len(text) + 1
    if end:
        yield text[:end]


def excerpt(raw: bytes) -> str:
    """A line fit for a message: printable, and not too long."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw[:_SHOWN])
    return shown + ("..." if len(raw) > _SHOWN else "")


def _too_long(raw: bytes, reading: Reading) -> SourceError:
    reason = f"the line is longer than {MAX_LINE_BYTES} bytes"
    return reading.wrong(0, raw, 1, reason, "no format that is taken has such lines")
