"""Formats of free text in which some words tell where an access is: a record.

What is not a record is passed over and counted. The address of a record must be a number; a
record without one is an error with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mkold.trace.accesses import FETCH, NO_ACCESS, Accesses, split
from mkold.trace.formats.block import Block, Index
from mkold.trace.formats.reading import Reading, blocks
from mkold.trace.formats.shape import FETCHES, MAX_SIZE
from mkold.trace.schema import U8, U64

OTHER_LINES = "lines that are no accesses"


@dataclass(slots=True)
class Found:
    """The records of a block, in order: the word of each address, kind, size.

    Parameters
    ----------
    who : by record, what tells threads or vCPUs apart; empty if nothing does
    stands_for : how many events all records stand for, where they are samples that say so
    """

    address: Index
    kind: U8
    size: U64
    who: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    stands_for: int = 0


@dataclass(slots=True)
class Seen:
    """Of all blocks: how many records, of how many threads, and what they stand for."""

    n_records: int = 0
    stands_for: int = 0
    who: set[int] = field(default_factory=set)


def read(
    chunks: Iterable[bytes],
    reading: Reading,
    find: Callable[[Block, Reading], Found],
    told: Callable[[Seen], list[str]],
    separators: bytes = b"",
) -> Iterator[Accesses]:
    """Parse text that arrives in chunks of any size; at most a block is held.

    Parameters
    ----------
    find : the records of a block
    told : notes for the user, from what was seen in all

    Raises
    ------
    SourceError : a record is damaged
    """
    seen = Seen()
    for text in blocks(chunks, reading):
        block = Block(text, separators)
        found = find(block, reading)
        seen.n_records += len(found.address)
        seen.stands_for += found.stands_for
        seen.who.update(np.unique(found.who).tolist())
        n_others = int(np.count_nonzero(block.n_words())) - len(found.address)
        if n_others > 0:
            reading.left_out[OTHER_LINES] += n_others
        reading.notes[:] = told(seen)
        yield _accesses(block, found, reading)


def _accesses(block: Block, found: Found, reading: Reading) -> Accesses:
    address, good = block.hexadecimal(found.address)
    size = np.clip(found.size, 1, MAX_SIZE)
    good &= address + (size - np.uint64(1)) >= address
    wrong = np.flatnonzero(~good & (found.kind != NO_ACCESS))
    if len(wrong):
        raise wrong_word(block, found.address[wrong[0]], reading, "the address is not a number")
    keep = found.kind != NO_ACCESS
    for kind, what in ((NO_ACCESS, OTHER_LINES), (FETCH, FETCHES)):
        if kind == FETCH and reading.instructions:
            continue
        n = int(np.count_nonzero(found.kind == kind))
        if n:
            reading.left_out[what] += n
            keep &= found.kind != kind
    return split(address[keep], size[keep], found.kind[keep])


def wrong_word(
    block: Block, word: np.intp, reading: Reading, reason: str, hint: str = ""
) -> Exception:
    """An error at one word."""
    at = int(block.line_of(np.array([word]))[0])
    raw = block.line(at)
    begin = int(block.line_end[at]) - len(raw)
    return reading.wrong(at, raw, int(block.start[word]) - begin + 1, reason, hint)


def search(pattern: bytes) -> Callable[[bytes, list[bytes]], bool]:
    """Whether the head of a file has ``pattern`` somewhere."""
    known = re.compile(pattern, re.MULTILINE)
    return lambda head, lines: known.search(head) is not None
