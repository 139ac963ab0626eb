"""Formats of one access a line, said by their fields: a shape.

A shape is a row of fields, each a word of the line: the kind of the access, its address (in
hexadecimal, with or without ``0x``), its size in bytes, or something to be passed over. Lines
that are empty or begin with ``#`` are no accesses, in any format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from mkold.base.errors import SourceError
from mkold.trace.accesses import FETCH, NO_ACCESS, UNKNOWN, Accesses, split
from mkold.trace.formats.block import Block, Index, Mask, packed
from mkold.trace.formats.reading import Reading, blocks
from mkold.trace.schema import PAGE_SIZE, U8, U64

MAX_SIZE = PAGE_SIZE
FETCHES = "instruction fetches (--instructions takes them)"
_HEX = re.compile(rb"(0[xX])?[0-9a-fA-F]{1,16}\Z|\(nil\)\Z")
_DIGITS = re.compile(rb"(0[xX])?([0-9a-fA-F]+)\Z")


@dataclass(frozen=True, slots=True)
class Shape:
    """How a line of a format is read.

    Parameters
    ----------
    title : the format, as it goes with "a line of"
    fields : "kind", "address", "size" or "other", in order; one that ends in ``?`` may be
        absent, and so may all after it
    kinds : what the kind may be; ``NO_ACCESS`` is passed over, whatever follows it
    separators : bytes that part words, beside blanks
    more : further words may follow
    chatter : beginnings of lines that are passed over
    hint : what to do about a line of another kind
    """

    title: str
    fields: tuple[str, ...]
    kinds: Mapping[bytes, int]
    separators: bytes = b","
    more: bool = False
    chatter: tuple[bytes, ...] = field(default=(b"#",))
    hint: str = ""

    @property
    def n_least(self) -> int:
        """How many words a line has at least."""
        return sum(not name.endswith("?") for name in self.fields)

    def at(self, name: str) -> int:
        """Which word is field ``name``; -1 if there is none."""
        names = [each.rstrip("?") for each in self.fields]
        return names.index(name) if name in names else -1

    def read(self, chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
        """Parse text that arrives in chunks of any size; at most a block is held.

        Raises
        ------
        SourceError : a line is not of this shape
        """
        for text in blocks(chunks, reading):
            yield self.block(Block(text, self.separators), reading)

    def block(self, block: Block, reading: Reading) -> Accesses:
        """Parse whole lines; see ``read``."""
        n_words, first = block.n_words(), block.first[:-1]
        full = n_words >= self.n_least
        if not self.more:
            full &= n_words <= len(self.fields)
        kind = np.full(block.n_lines, UNKNOWN, np.uint8)
        at = self.at("kind")
        there = np.flatnonzero(n_words > at)
        kind[there] = self._kinds(block, first[there] + at)
        lines = np.flatnonzero(full & (kind < NO_ACCESS))
        address, size, good = self._numbers(block, first[lines], n_words[lines])
        strange = (n_words > 0) & (~full & (kind != NO_ACCESS) | (kind == UNKNOWN))
        self._check(block, reading, lines[~good], np.flatnonzero(strange))
        kind = kind[lines]
        if not reading.instructions:
            keep = kind != FETCH
            if not keep.all():
                reading.left_out[FETCHES] += int(np.count_nonzero(~keep))
                address, size, kind = address[keep], size[keep], kind[keep]
        return split(address, size, kind)

    def _kinds(self, block: Block, words: Index) -> U8:
        found = np.full(len(words), UNKNOWN, np.uint8)
        text, length = block.packed(words), block.length(words)
        for word, kind in self.kinds.items():
            found[(text == packed(word)) & (length == len(word))] = kind
        return found

    def _numbers(self, block: Block, first: Index, n_words: Index) -> tuple[U64, U64, Mask]:
        """Address and size of lines that have them, and whether good."""
        words = first + self.at("address")
        address, good = block.hexadecimal(words)
        if not good.all():
            address[~good] = 0  # which C's %p prints in a way of its own
            good[~good] = block.is_word(words[~good], b"(nil)")
        size = np.ones(len(first), np.uint64)
        at = self.at("size")
        if at >= 0:
            sized = np.flatnonzero(n_words > at)
            number, fine = block.decimal(first[sized] + at)
            size[sized] = number
            good[sized] &= fine & (number >= 1) & (number <= MAX_SIZE)
        good &= address + (size - np.uint64(1)) >= address
        return address, size, good

    def _check(self, block: Block, reading: Reading, bad: Index, strange: Index) -> None:
        """Raise for the first line that is wrong."""
        candidates = [int(at) for at in bad[:1]]
        for at in strange:
            raw = block.line(int(at)).strip()
            if raw and not raw.startswith(self.chatter):
                candidates.append(int(at))
                break
        if candidates:
            raise self._diagnose(block.line(min(candidates)), min(candidates), reading)

    def _diagnose(self, raw: bytes, at: int, reading: Reading) -> SourceError:
        """Say what is wrong with one line that was found to be wrong."""
        pattern = rb"[^\x00-\x20" + re.escape(self.separators) + rb"]+"
        words = [(match.start() + 1, match[0]) for match in re.finditer(pattern, raw)]
        stranger = f"this is not a line of {self.title}"
        kind = self.at("kind")
        if len(words) <= kind or words[kind][1] not in self.kinds:
            return reading.wrong(at, raw, 1, stranger, self.hint)
        for number, name in enumerate(self.fields):
            if number >= len(words):
                if name.endswith("?"):
                    break
                return reading.wrong(
                    at, raw, len(raw.rstrip()) + 1, f"the {name} is missing", self.hint
                )
            reason = _reason(name.rstrip("?"), words[number][1])
            if reason:
                return reading.wrong(at, raw, words[number][0], reason, self.hint)
        if len(words) > len(self.fields) and not self.more:
            col = words[len(self.fields)][0]
            return reading.wrong(at, raw, col, "the line goes on here", self.hint)
        col = words[self.at("address")][0]
        return reading.wrong(at, raw, col, "the access does not end below 2**64")


def _reason(name: str, word: bytes) -> str:
    """What is wrong with one word; empty if nothing is."""
    if name == "address" and not _HEX.match(word):
        digits = _DIGITS.match(word)
        if digits is None:
            return "the address is not a hexadecimal number"
        return f"the address has {len(digits[2])} digits; 64 bits have 16"
    if name == "size" and not (
        word.isdigit() and len(word) <= 9 and 1 <= int(word) <= MAX_SIZE
    ):
        return f"the size is not a number from 1 to {MAX_SIZE}"
    return ""
