"""Message passing in four dresses, for ``test_check_needed``."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    atomic_fetch_or,
    kernel,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    spin_lock,
    spin_unlock,
    u64,
)


class Box(Struct):
    data: u64
    flag: u64
    lock: u64


@kernel
def send_wmb(box: Ptr[Box]) -> None:
    WRITE_ONCE(box.data, 1)
    smp_wmb()
    WRITE_ONCE(box.flag, 1)


@kernel
def receive_rmb(box: Ptr[Box]) -> u64:
    if READ_ONCE(box.flag):
        smp_rmb()
        return READ_ONCE(box.data)
    return 2


@kernel
def send_release(box: Ptr[Box]) -> None:
    WRITE_ONCE(box.data, 1)
    smp_store_release(box.flag, 1)


@kernel
def receive_acquire(box: Ptr[Box]) -> u64:
    if smp_load_acquire(box.flag):
        smp_mb()  # redundant
        return READ_ONCE(box.data)
    return 2


@kernel
def send_mb(box: Ptr[Box]) -> None:
    WRITE_ONCE(box.data, 1)
    smp_mb()  # smp_wmb() would do
    WRITE_ONCE(box.flag, 1)


@kernel
def set_bit_twice(box: Ptr[Box], bits: u64) -> None:
    atomic_fetch_or(box.data, bits)


@kernel
def lock_box(box: Ptr[Box]) -> None:
    spin_lock(box.lock)


@kernel
def unlock_box(box: Ptr[Box]) -> None:
    spin_unlock(box.lock)


@kernel
def add_locked(box: Ptr[Box]) -> None:
    lock_box(box)
    box.data += 1
    unlock_box(box)


def _passing(name: str, send: object, receive: object) -> Claim:
    def setup(m: Setup) -> None:
        box = m.new(Box, "box")
        m.thread("sender", (send, box))  # type: ignore[arg-type]
        m.thread("receiver", (receive, box))  # type: ignore[arg-type]
        m.never("stale", lambda end: end.result("receiver") == 0, "Flag seen, data not.")

    case = Case("as written", Scenario(f"passing-{name}", setup))
    return Claim(name, "Who sees the flag sees the data.", "a test", (case,))


def _or(m: Setup) -> None:
    box = m.new(Box, "box")
    m.watch("data", box)
    m.thread("a", (set_bit_twice, box, 1))
    m.thread("b", (set_bit_twice, box, 2))
    m.never("bit-lost", lambda end: end["data"] != 3, "A bit was lost.")


def _locked(m: Setup) -> None:
    box = m.new(Box, "box")
    for name in ("a", "b"):
        m.thread(name, (add_locked, box))


FENCES = _passing("fences", send_wmb, receive_rmb)
RELEASE = _passing("release", send_release, receive_acquire)
FULL = _passing("full", send_mb, receive_rmb)
BITS = Claim("bits", "No bit is lost.", "a test", (Case("as written", Scenario("or", _or)),))
LOCKED = Claim(
    "locked", "No race.", "a test", (Case("as written", Scenario("locked", _locked)),)
)
