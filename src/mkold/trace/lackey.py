"""Read what ``valgrind --tool=lackey --trace-mem=yes`` prints, many lines at once.

Format (valgrind 3.x, lackey/lk_main.c)
---------------------------------------
::

    I  04001000,3      instruction fetch: address (hexadecimal), size (decimal)
     L 1fff000778,8    load
     S 1fff000778,8    store
     M 0421c7c4,4      modify: a load and a store of the same place

Lines that start with ``==``, ``--`` or ``**`` are valgrind's own chatter, and empty lines
come with it: both are skipped. Anything else is refused with its line number.

Rules
-----
1. A load is a read, a store is a write, a modify is a read and then a write.
2. Instruction fetches are left out unless asked for; then they are reads.
3. An address has 1 to 16 hexadecimal digits and its access ends below 2**64; a size has 1
   to 4 decimal digits and is 1 to 4096.
4. A last line without its newline is cut short: refused, or dropped where the stream was
   cut on purpose.

A block of text is parsed by NumPy without a Python loop over lines: the digits of all
addresses are gathered as 64-bit words and turned to numbers eight characters at a time.
Only a line that is wrong is looked at by itself, to say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import Pos, SourceError
from mkold.trace.schema import PAGE_SHIFT, PAGE_SIZE, U8, U64

BLOCK_BYTES = 1 << 20  # fits the cache better than more, and hides the cost per block
MAX_LINE_BYTES = 1 << 16
MAX_SIZE = PAGE_SIZE

_PAD = 32  # zero bytes before the text, so that gathers before its start stay inside
_NEWLINE, _COMMA, _SPACE = b"\n, "
_LOAD, _STORE, _MODIFY, _FETCH = b"LSMI"


@dataclass(frozen=True, slots=True)
class Accesses:
    """Accesses in order: virtual page number and kind (1 for a write)."""

    vpn: U64
    write: U8


def parse(
    chunks: Iterable[bytes],
    *,
    name: str = "<lackey>",
    instructions: bool = False,
    cut: bool = False,
) -> Iterator[Accesses]:
    """Parse text that arrives in chunks of any size; at most a block is held.

    Parameters
    ----------
    chunks : the text; a chunk may end within a line
    name : the file, for messages
    instructions : keep instruction fetches, as reads
    cut : the stream was cut on purpose: drop an unfinished last line

    Raises
    ------
    SourceError : a line is not lackey's; with its number
    """
    line = 1
    for text, last in _blocks(chunks, name):
        if last and cut:
            return
        if last:
            raise _cut_short(text, name, line)
        yield _parse_block(text, name, line, instructions)
        line += text.count(b"\n")


def _blocks(chunks: Iterable[bytes], name: str) -> Iterator[tuple[bytes, bool]]:
    """Cut the text after newlines; what is left at the end comes with True."""
    held: list[bytes] = []
    n_held, n_lines = 0, 0
    for chunk in chunks:
        held.append(chunk)
        n_held += len(chunk)
        if n_held < BLOCK_BYTES:
            continue
        text = b"".join(held)
        end = text.rfind(b"\n") + 1
        if len(text) - end > MAX_LINE_BYTES:
            n_lines += text.count(b"\n")
            raise _too_long(text[end : end + 80], name, n_lines + 1)
        if end:
            n_lines += text.count(b"\n")
            yield text[:end], False
        held, n_held = [text[end:]], len(text) - end
    text = b"".join(held)
    end = text.rfind(b"\n") + 1
    if end:
        yield text[:end], False
    if end < len(text):
        yield text[end:], True


def _parse_block(text: bytes, name: str, line: int, instructions: bool) -> Accesses:
    """Parse whole lines. Positions are those in ``data``, which has padding in front."""
    data = np.frombuffer(bytes(_PAD) + text, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = _PAD, ends[:-1] + 1

    first = data[starts]
    second, third = (data[np.minimum(starts + k, ends)] for k in (1, 2))
    is_data = (first == _SPACE) & (third == _SPACE)
    is_data &= (second == _LOAD) | (second == _STORE) | (second == _MODIFY)
    is_fetch = (first == _FETCH) & (second == _SPACE) & (third == _SPACE)
    is_access = is_data | is_fetch
    wanted = np.flatnonzero(is_access)
    address, size, good = _numbers(data, starts[wanted] + 3, ends[wanted])
    wrong = wanted[~good]
    if len(wanted) != len(starts):
        wrong = np.concatenate((wrong, _strangers(data, starts, ends, ~is_access)))
    if len(wrong):
        at = int(wrong.min())
        raise _diagnose(text[starts[at] - _PAD : ends[at] - _PAD], name, line + at)
    if not instructions:
        keep = is_data[wanted]
        address, size, wanted = address[keep], size[keep], wanted[keep]
    return _accesses(address, size, second[wanted])


def _numbers(
    data: U8, begin: NDArray[np.intp], end: NDArray[np.intp]
) -> tuple[U64, U64, NDArray[np.bool_]]:
    """Address and size of each ``address,size`` in ``[begin, end)``, and whether good."""
    comma = end - 2
    for width in (2, 3, 4):
        far = np.flatnonzero(data[comma] != _COMMA)
        comma[far] = end[far] - 1 - width
    n_size = end - comma - 1
    size = np.zeros(len(end), np.uint64)
    good = (data[comma] == _COMMA) & (n_size >= 1)
    for k in range(4):
        inside = np.flatnonzero(n_size > k)
        digit = data[end[inside] - 1 - k].astype(np.uint64) - np.uint64(48)
        good[inside] &= digit <= 9
        size[inside] += digit * np.uint64(10**k)
    n_digits = comma - begin
    good &= (n_digits >= 1) & (n_digits <= 16) & (size >= 1) & (size <= MAX_SIZE)
    address, hex_good = _hex8(data, comma, n_digits)
    long = np.flatnonzero(n_digits > 8)
    high, high_good = _hex8(data, comma[long] - 8, n_digits[long] - 8)
    address[long] |= high << np.uint64(32)
    hex_good[long] &= high_good
    good &= hex_good & (address + (size - np.uint64(1)) >= address)
    return address, size, good


def _hex8(
    data: U8, end: NDArray[np.intp], n_digits: NDArray[np.intp]
) -> tuple[U64, NDArray[np.bool_]]:
    """The number in the last ``n_digits`` (at most 8) hexadecimal digits before ``end``.

    The eight characters are one little-endian word: the last digit is its top byte.
    """
    windows = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    text = windows[end - 8]
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


def _accesses(address: U64, size: U64, kind: U8) -> Accesses:
    """Split what crosses a page or modifies: one entry per page and kind (rules 1, 4)."""
    shift = np.uint64(PAGE_SHIFT)
    vpn = address >> shift
    crosses = (address + (size - np.uint64(1))) >> shift != vpn
    write = (kind == _STORE).astype(np.uint8)
    modifies = kind == _MODIFY
    if not crosses.any() and not modifies.any():
        return Accesses(vpn, write)
    copies = (1 + crosses.astype(np.intp)) * (1 + modifies.astype(np.intp))
    source = np.repeat(np.arange(len(vpn)), copies)
    nth = np.arange(len(source)) - np.repeat(np.cumsum(copies) - copies, copies)
    n_pages = np.where(crosses, 2, 1)[source]
    vpn = vpn[source] + (nth % n_pages).astype(np.uint64)
    write = write[source] | (nth >= n_pages).astype(np.uint8)
    return Accesses(vpn, write)


def _strangers(
    data: U8, starts: NDArray[np.intp], ends: NDArray[np.intp], other: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Of the lines that are no access, those that are neither valgrind's own nor empty."""
    at = np.flatnonzero(other)
    first, second = data[starts[at]], data[np.minimum(starts[at] + 1, ends[at])]
    chatter = (first == second) & np.isin(first, np.frombuffer(b"=-*", np.uint8))
    strangers: NDArray[np.intp] = at[~(chatter | (starts[at] == ends[at]))]
    return strangers


_SHOWN = 80
_MIXED = (
    "the program's own output may be mixed in: record with --log-file=FILE, so that "
    "lackey's lines go elsewhere"
)


def _show(raw: bytes) -> str:
    """A line fit for a message: printable, and not too long."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw[:_SHOWN])
    return shown + ("..." if len(raw) > _SHOWN else "")


def _diagnose(raw: bytes, name: str, line: int) -> SourceError:
    """Say what is wrong with one line that was found to be wrong."""
    col, reason, hint = _reason(raw)
    return SourceError(reason, Pos(name, line, min(col, _SHOWN)), _show(raw), hint)


def _reason(raw: bytes) -> tuple[int, str, str]:
    head, body = raw[:3], raw[3:]
    if head not in (b"I  ", b" L ", b" S ", b" M "):
        return 1, "this is not a line of lackey's memory trace", _MIXED
    address, comma, size = body.partition(b",")
    hexadecimal = address.rstrip(b"0123456789abcdefABCDEF") == b""
    if not address or not hexadecimal:
        return 4, "the address is not a hexadecimal number", _MIXED
    if not comma:
        return 4 + len(address), "the size is missing", _MIXED
    if len(address) > 16:
        return 4, f"the address has {len(address)} digits; 64 bits have 16", ""
    col = 5 + len(address)
    if size.endswith(b"\r"):
        return col, "the line ends in a carriage return", "convert the file with dos2unix"
    if not (size.isdigit() and len(size) <= 4 and 1 <= int(size) <= MAX_SIZE):
        return col, f"the size is not a number from 1 to {MAX_SIZE}", ""
    return 4, "the access does not end below 2**64", ""


def _cut_short(raw: bytes, name: str, line: int) -> SourceError:
    hint = "the file is truncated; remove its last line to import the rest"
    return SourceError("the last line has no end", Pos(name, line), _show(raw), hint)


def _too_long(raw: bytes, name: str, line: int) -> SourceError:
    reason = f"the line is longer than {MAX_LINE_BYTES} bytes"
    return SourceError(reason, Pos(name, line), _show(raw), "this is no lackey output")
