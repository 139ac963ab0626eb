"""Bytes changed at random: pieces gone, doubled, exchanged, and a format's own words put in."""

from __future__ import annotations

import random
import re

NUMBERS = (b"0", b"-1", b"4294967296", b"18446744073709551615", b"1e400", b"9" * 400)
BYTES = (b"\0", b"\xff", b"\x1b]0;x\x07", b"\r", b"\t" * 40, "ß→".encode(), b"(" * 300)
LITMUS = (
    *(b"P0(int *x) { }", b"exists (x=1)", b"forall", b"~exists", b"locations [x;]", b"filter"),
    *(
        b"READ_ONCE(*x)",
        b"WRITE_ONCE(*x, 1);",
        b"smp_mb();",
        b"xchg(x, 1)",
        b"synchronize_rcu();",
    ),
    *(
        b"if (r0) {",
        b"} else {",
        b"while (1) {",
        b"do {",
        b"} while (r0);",
        b"goto out;",
        b"out:",
    ),
    *(b"r0 = ", b"int r1;", b"spin_lock(x);", b"spin_unlock(x);", b"*x = 1;", b"/\\", b"\\/"),
    *(
        b"{",
        b"}",
        b"(",
        b")",
        b";",
        b"&",
        b"*",
        b"(*",
        b"*)",
        b"//",
        b"\n",
        b"C name",
        b"r0 / 0",
    ),
    *(b"__atomic_thread_fence(__ATOMIC_ACQUIRE)", b"atomic_t *x", b"{ x = &y; }", b"0x", b"u8"),
)
LACKEY = (
    *(b" L 04222c40,8\n", b" S 1ffefffa30,8\n", b" M 0421c7cc,4\n", b"I  04001000,3\n"),
    *(b" L ", b",", b"ffffffffffffffff,8", b",0", b",99999999", b"==123== \n", b" L 0,"),
)
FORMATS = {"litmus": LITMUS, "lackey": LACKEY, "parquet": ()}


def mutated(data: bytes, rng: random.Random, kind: str, other: bytes = b"") -> bytes:
    """``data`` with one change or a few."""
    for _ in range(1 + min(int(rng.expovariate(0.7)), 8)):
        data = _once(data, rng, FORMATS[kind], other)
    return data


def _once(data: bytes, rng: random.Random, words: tuple[bytes, ...], other: bytes) -> bytes:
    start, size = rng.randrange(len(data) + 1), int(rng.expovariate(0.08)) + 1
    head, piece, tail = data[:start], data[start : start + size], data[start + size :]
    match rng.randrange(9):
        case 0:
            return head + tail
        case 1:
            return head + piece * rng.choice((2, 2, 3, 50)) + tail
        case 2:
            at = rng.randrange(len(tail) + 1)
            return head + tail[:at] + piece + tail[at:]
        case 3 if piece:
            return head + bytes([rng.randrange(256)]) + piece[1:] + tail
        case 4:
            found = [*re.finditer(rb"\d+", data)]
            if found:
                one = rng.choice(found)
                return data[: one.start()] + rng.choice(NUMBERS) + data[one.end() :]
        case 5:
            return head + rng.choice(BYTES) + piece + tail
        case 6 if other:
            at = rng.randrange(len(other))
            return head + other[at : at + size] + tail
        case 7:
            return head if rng.random() < 0.3 else head + tail
    return head + (rng.choice(words) if words else b"\0") + piece + tail
