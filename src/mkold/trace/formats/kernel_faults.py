"""Fault events of the kernel, as ftrace, ``trace-cmd report`` and ``perf script`` print them.

::

    CPU 0/KVM-2216 [003] 1.5: kvm_page_fault: vcpu 0 rip 0x7f address 0xfeb0 error_code 0x182
    qemu-kvm-2216 [003] .... 1.5: kvm_page_fault: address feb00000 error_code 181
    prog-100 [001] d..1. 1.5: page_fault_user: address=0x7f12 ip=0x55 error_code=0x6

``kvm_page_fault`` tells the vCPU since Linux 5.19, the guest's address before too. On arm64 it
is ``kvm_guest_fault`` with the guest's physical address as ``ipa``. A fault is a write where
bit 1 of its error code says so (both where that is KVM's own code and where it is VMX's exit
qualification), on arm64 bit 6 of the syndrome of a data abort.

A fault is the first touch of a page, or one after it was taken away, not an access like others.

Source: the print formats of these events in ``events/*/format``, Linux 4.18 to 6.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mkold.trace.accesses import NO_ACCESS, READ, WRITE, Accesses
from mkold.trace.formats import records
from mkold.trace.formats.block import Block, Index
from mkold.trace.formats.reading import Reading
from mkold.trace.schema import U8, U64

EVENTS = (b"kvm_page_fault:", b"kvm_guest_fault:", b"page_fault_user:", b"page_fault_kernel:")
LOOKS = records.search(rb"(?:^|[\s:])(kvm_(page|guest)_fault|page_fault_(user|kernel)):\s")
SAID = "these are faults, not every access: a page that stays mapped is seen once"
# The names of the fields, each followed by its value: in which order events print them.
_ORDERS: tuple[tuple[bytes, ...], ...] = (
    (b"vcpu", b"rip", b"address", b"error_code"),
    (b"vcpu", b"address", b"error_code"),
    (b"address", b"error_code"),
    (b"address", b"ip", b"error_code"),
    (b"ipa", b"hsr"),
    (b"ipa", b"esr"),
)
_DATA_ABORT = 0x24  # exception class, bits 26 and up of the syndrome


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Parse it; see ``records.read``."""
    return records.read(chunks, reading, _find, _told, separators=b",=")


def _find(block: Block, reading: Reading) -> records.Found:
    event = block.find_ending(*EVENTS)
    address = np.zeros(len(event), np.intp)
    kind = np.full(len(event), NO_ACCESS, np.uint8)
    who = np.zeros(len(event), np.uint64)
    left = np.arange(len(event))
    for order in _ORDERS:
        fits = _in_order(block, event[left], order)
        mine, left = left[fits], left[~fits]
        if not len(mine):
            continue
        names = {name: event[mine] + 1 + 2 * at for at, name in enumerate(order)}
        address[mine] = names.get(b"address", names.get(b"ipa", event[mine])) + 1
        kind[mine] = _kind(block, names)
        if b"vcpu" in names:
            who[mine] = block.decimal(names[b"vcpu"] + 1)[0] + np.uint64(1)
    if len(left):
        hint = "known are: " + "; ".join(b" ".join(order).decode() for order in _ORDERS)
        reason = "the fields of this event are not known"
        raise records.wrong_word(block, event[left[0]], reading, reason, hint)
    return records.Found(address, kind, np.ones(len(event), np.uint64), who[who > 0])


def _in_order(block: Block, event: Index, order: tuple[bytes, ...]) -> np.ndarray:
    line = block.line_of(event)
    good = event + 2 * len(order) < block.first[line + 1]
    for at, name in enumerate(order):
        inside = np.flatnonzero(good)
        good[inside] = block.is_word(event[inside] + 1 + 2 * at, name)
    return good


def _kind(block: Block, names: dict[bytes, Index]) -> U8:
    code = _number(block, names, b"error_code")
    write = (code >> np.uint64(1)) & np.uint64(1)
    for name in (b"hsr", b"esr"):
        if name in names:
            syndrome = _number(block, names, name)
            is_data = (syndrome >> np.uint64(26)) & np.uint64(0x3F) == _DATA_ABORT
            write = (syndrome >> np.uint64(6)) & is_data.astype(np.uint64)
    return np.where(write, WRITE, READ).astype(np.uint8)


def _number(block: Block, names: dict[bytes, Index], name: bytes) -> U64:
    words = names.get(name)
    return np.zeros(1, np.uint64) if words is None else block.hexadecimal(words + 1)[0]


def _told(seen: records.Seen) -> list[str]:
    told = [f"{seen.n_records:,} faults"]
    if seen.who:
        told[0] += f" of {len(seen.who)} vCPUs, interleaved as they came"
    return told
