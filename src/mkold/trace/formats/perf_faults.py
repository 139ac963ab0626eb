"""``perf script`` of page-fault events (``perf record -d -e page-faults``), with addresses.

::

    prog 1234 [001] 10.1: 1 page-faults:u: 7f1234567000 55d0c0ffee10 main+0x10 (/usr/bin/prog)
    ls 99 2.0: 1 page-faults: 56092000 __progname+0x0 (/bin/ls) 81775b9a elf_load+0x7 ([kernel])

Known by the event's name (``page-faults``, ``minor-faults``, ``major-faults``, ``faults``). The
address is the first number after it, with its symbol if perf knows one; where one number alone
stands before a symbol and no other comes behind, that is the instruction, and the file has no
addresses. Kinds are not printed: all are taken as reads.

A fault is the first touch of a page, or one after it was taken away, not an access like
others: what happens to pages that stay mapped is not in the file.

Source: perf-record(1), perf-script(1); the order of fields of ``perf script -F +addr``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mkold.trace.accesses import READ, Accesses
from mkold.trace.formats import records
from mkold.trace.formats.block import Block, Index, Mask
from mkold.trace.formats.reading import Reading

LOOKS = records.search(
    rb"(?:^|\s)((page|minor|major)-faults|(?<=\d\s)faults)(:\w*)?:\s+[0-9a-f]{4,16}\s"
)
SAID = (
    "these are page faults, not every access: a page that stays mapped is seen once; kinds "
    "are not printed, so all are reads"
)
_HINT = "record with perf record -d -e page-faults, print with perf script -F +addr"
_EVENTS = (b"page-fau", b"minor-fa", b"major-fa", b"faults:")


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Parse it; see ``records.read``."""
    return records.read(chunks, reading, _find, _told)


def _find(block: Block, reading: Reading) -> records.Found:
    event = block.find_beginning(*_EVENTS)
    event = event[block.byte(event, -1) == ord(":")]
    good = np.isin(event, block.together(event, 0, 1), assume_unique=True)
    good[good] = _is_address(block, event[good] + 1)
    if not good.all():
        word = event[np.flatnonzero(~good)[0]]
        raise records.wrong_word(block, word, reading, "the fault's address is missing", _HINT)
    n = len(event)
    return records.Found(event + 1, np.full(n, READ, np.uint8), np.ones(n, np.uint64))


def _is_address(block: Block, words: Index) -> Mask:
    """Whether a word is an address of data: a number, with another, the instruction, behind it
    at once or behind the symbol and the object that the address lies in."""
    found = block.hexadecimal(words)[1]
    at_once = _is_number(block, words, 1)
    behind = _is_number(block, words, 3)
    last = block.first[block.line_of(words) + 1]
    some = np.flatnonzero(behind & (words + 3 < last))
    behind[some] &= block.byte(words[some] + 2, 0) == ord("(")
    alone = words + 1 >= last
    mask: Mask = found & (alone | at_once | behind)
    return mask


def _is_number(block: Block, words: Index, ahead: int) -> Mask:
    """Whether the word so far ahead in the same line is a long number."""
    found = np.zeros(len(words), bool)
    there = np.flatnonzero(words + ahead < block.first[block.line_of(words) + 1])
    following = words[there] + ahead
    found[there] = block.hexadecimal(following)[1] & (block.length(following) > 4)
    return found


def _told(seen: records.Seen) -> list[str]:
    return [f"{seen.n_records:,} faults"]
