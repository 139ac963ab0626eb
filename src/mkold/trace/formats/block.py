"""A block of text as lines and words, by NumPy, without a Python loop over lines.

A word is what stands between blanks and the separators of its format; everything up to and
with the space is a blank. Words are named by their number in the block, lines too, both from
0. Positions are those in ``data``, which has blanks before the text so that what is gathered
before its start stays inside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mkold.trace.schema import U8, U64

Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

_PAD = 32
_NEWLINE = 10
_MOST_DIGITS = 9  # of a decimal number; few are longer


def packed(text: bytes) -> np.uint64:
    """The first eight bytes of ``text`` as ``Block.packed`` gives them."""
    return np.uint64(int.from_bytes(text[:8], "little"))


class Block:
    """Whole lines.

    Parameters
    ----------
    text : ends in a newline
    separators : bytes that part words, beside blanks
    """

    def __init__(self, text: bytes, separators: bytes = b"") -> None:
        self.data = np.frombuffer(b" " * _PAD + text, np.uint8)
        self._words64 = np.ndarray(len(self.data) - 7, "<u8", self.data, strides=(1,))
        ink = self.data > 32
        for separator in separators:
            ink &= self.data != separator
        edges = np.flatnonzero(ink[1:] != ink[:-1])
        edges += 1
        self.start: Index = edges[0::2]
        self.end: Index = edges[1::2]
        self.line_end: Index = np.flatnonzero(self.data == _NEWLINE)
        self.first: Index = np.searchsorted(self.start, self.line_end)
        self.first = np.concatenate((np.zeros(1, np.intp), self.first))

    @property
    def n_lines(self) -> int:
        """How many lines there are."""
        return len(self.line_end)

    def n_words(self) -> Index:
        """By line, how many words it has."""
        return np.diff(self.first)

    def line(self, at: int) -> bytes:
        """One line without its newline."""
        begin = int(self.line_end[at - 1]) + 1 if at else _PAD
        return self.data[begin : int(self.line_end[at])].tobytes()

    def line_of(self, words: Index) -> Index:
        """By word, the line that it stands in."""
        return np.searchsorted(self.first, words, side="right") - 1

    def length(self, words: Index) -> Index:
        """By word, how many bytes it has."""
        return self.end[words] - self.start[words]

    def byte(self, words: Index, at: int = 0) -> U8:
        """By word, the byte at ``at`` from its start; from its end where that is negative."""
        return self.data[(self.end[words] if at < 0 else self.start[words]) + at]

    def packed(self, words: Index) -> U64:
        """By word, its last eight bytes, or all of it followed by zeros."""
        length = self.length(words)
        begin = self.end[words] - 8
        cut = (8 * np.clip(8 - length, 0, 7)).astype(np.uint64)
        return self._words64[begin] >> cut

    def is_word(self, words: Index, text: bytes) -> Mask:
        """By word, whether it is ``text``."""
        found: Mask = (self.length(words) == len(text)) & self.ends_with(words, text)
        return found

    def ends_with(self, words: Index, text: bytes) -> Mask:
        """By word, whether it is ``text`` or ends in it."""
        tail = text[-8:]
        shift = np.uint64(8 * (8 - len(tail)))
        found: Mask = self._words64[self.end[words] - 8] >> shift == packed(tail)
        found &= self.length(words) >= len(text)
        for at in range(9, len(text) + 1):
            hits = np.flatnonzero(found)
            found[hits] = self.data[self.end[words[hits]] - at] == text[-at]
        return found

    def find(self, text: bytes) -> Index:
        """The words that are ``text``."""
        words = np.flatnonzero(self.data[self.start] == text[0])
        return words[self.is_word(words, text)]

    def find_ending(self, *texts: bytes) -> Index:
        """The words that end in one of ``texts``, of at least eight bytes and one last byte."""
        words = np.flatnonzero(self.data[self.end - 1] == texts[0][-1])
        tails = self._words64[self.end[words] - 8]
        found = np.zeros(len(words), bool)
        for text in texts:
            hits = np.flatnonzero(tails == packed(text[-8:]))
            found[hits] = self.ends_with(words[hits], text)
        return words[found]

    def find_beginning(self, *texts: bytes) -> Index:
        """The words that begin with one of ``texts`` of at most eight bytes."""
        heads = self._words64[np.minimum(self.start, len(self.data) - 8)]
        found = np.zeros(len(heads), bool)
        for text in texts:
            shift = np.uint64(8 * (8 - len(text)))
            found |= heads << shift == packed(text) << shift
        return np.flatnonzero(found)

    def together(self, words: Index, first: int, last: int) -> Index:
        """Those whose line has all the words from ``first`` to ``last``, counted from them."""
        line = self.line_of(words)
        good = (words + first >= self.first[line]) & (words + last < self.first[line + 1])
        return words[good]

    def hexadecimal(self, words: Index) -> tuple[U64, Mask]:
        """By word, the number it is, with or without ``0x``; and whether it is one."""
        begin, end = self.start[words], self.end[words]
        marked = (self.data[begin] == 48) & ((self.data[begin + 1] | 32) == 120)
        n_digits = end - begin
        n_digits -= 2 * marked
        number, good = self._hex8(end, n_digits)
        long = np.flatnonzero(n_digits > 8)
        high, high_good = self._hex8(end[long] - 8, n_digits[long] - 8)
        number[long] |= high << np.uint64(32)
        good[long] &= high_good
        good &= (n_digits >= 1) & (n_digits <= 16)
        return number, good

    def decimal(self, words: Index, most: int = _MOST_DIGITS) -> tuple[U64, Mask]:
        """By word, the number it is in decimal digits (not too many); and whether it is one."""
        end, n_digits = self.end[words], self.length(words)
        number = (self.data[end - 1] - np.uint8(48)).astype(np.uint64)
        good = (number <= 9) & (n_digits <= most)
        for k in range(1, min(int(n_digits.max(initial=1)), most)):
            inside = np.flatnonzero(n_digits > k)
            digit = (self.data[end[inside] - 1 - k] - np.uint8(48)).astype(np.uint64)
            good[inside] &= digit <= 9
            number[inside] += digit * np.uint64(10**k)
        return number, good

    def _hex8(self, end: Index, n_digits: Index) -> tuple[U64, Mask]:
        """The number in the last ``n_digits`` (at most 8) hexadecimal digits before ``end``.

        The eight characters are one little-endian word: the last digit is its top byte.
        """
        text = self._words64[end - 8]
        absent = (8 * (8 - np.clip(n_digits, 0, 8))).astype(np.uint64)
        ones = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
        keep = np.where(absent >= 64, np.uint64(0), ones << np.minimum(absent, np.uint64(63)))
        text = (text & keep) | (np.uint64(0x3030303030303030) & ~keep)

        each = np.uint64(0x0101010101010101)
        letter = (text >> np.uint64(6)) & each
        value = (text & (each * np.uint64(0x0F))) + letter * np.uint64(9)
        above_9 = ((value + each * np.uint64(6)) >> np.uint64(4)) & each
        again = value + each * np.uint64(0x30) + above_9 * np.uint64(0x27)
        good = (text | (letter << np.uint64(5))) == again
        good &= (value & (each * np.uint64(0xF0))) == 0

        pairs = (value << np.uint64(4) | value >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
        quads = (pairs << np.uint64(8) | pairs >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
        number = (quads << np.uint64(16) | quads >> np.uint64(32)) & np.uint64(0xFFFFFFFF)
        return number, good
