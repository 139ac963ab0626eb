"""What a subject has to say, in kernel Python (hooks) and in Python."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mkold.ir.definition import Definition
from mkold.kvm.machine import Architecture
from mkold.kvm.types import Kvm, Vcpu
from mkold.lang import Array, Ptr, Struct, hook, u64
from mkold.run.layout import Place

TABLE = 512  # entries of a table of base pages
LINE_ENTRIES = 8  # of a cache line


class Count(Struct):
    """What one thread did; ``stop`` ends it."""

    stop: u64
    done: u64
    pad: Array[u64, 6]


@hook
def bench_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """The guest faults on one of its pages, for reading; 0 if it can go on."""


@dataclass(frozen=True, slots=True)
class Scan:
    """How entries are scanned; functions are kernel Python.

    Parameters
    ----------
    map : ``map(kvm, n)`` makes all that ``n`` entries (whole tables) need in a new VM; 0 if
        there was memory
    fill : ``fill(kvm, n, threshold)`` makes them present, young where ``bench_is_young`` says
        so; how many are
    scan : ``scan(kvm, n)``, one pass that clears what is young; how many were
    words : of memory for so many entries
    source, flags : what is compiled to hold it against
    peers : functions of that, each with its column's head; ``sum`` adds ``n`` words up from
        the memory's start, the others are called with the memory, ``roots`` and ``n`` and
        return what ``scan`` does
    roots : word addresses (or words) that the C code starts from, of a VM that was mapped
    parameters : build parameters
    """

    map: Definition
    fill: Definition
    scan: Definition
    words: Callable[[int], int]
    source: Path
    peers: Mapping[str, str]
    roots: Callable[[Place], Sequence[int]]
    flags: tuple[str, ...] = ()
    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Faults:
    """How faults are taken; functions are kernel Python.

    Parameters
    ----------
    ready : ``ready(kvm, vcpu, n)`` makes a new VM and its vCPU what the subject is, for ``n``
        pages of the guest; 0 if there was memory
    fault : ``bench_fault``
    read : ``read(kvm, vcpu, n, count)`` reads one entry a cache line of those that aging looks
        at, unless told to stop, and returns what depends on them; the pages done are added to
        ``count``
    words : of memory for so many pages, beside the host's
    paths : which ways of aging there are, ``none`` first
    own_pages : of the VM's memory, in front of so many pages of the guest's
    parameters : build parameters
    """

    ready: Definition
    fault: Definition
    read: Definition
    words: Callable[[int], int]
    paths: tuple[str, ...] = ("none", "reading", "lockless", "locked")
    own_pages: Callable[[int], int] = lambda n_pages: 0
    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """One row; ``scan`` or ``faults`` is None where it is not measured."""

    name: str
    sentence: str
    arch: Architecture
    scan: Scan | None = None
    faults: Faults | None = None


def add_option(
    parser: argparse.ArgumentParser, subjects: Mapping[str, Subject], default: str
) -> None:
    """``--subject``."""
    known = "; ".join(f"{name}: {subject.sentence}" for name, subject in subjects.items())
    parser.add_argument(
        "--subject", nargs="+", choices=list(subjects), default=[default], metavar="NAME",
        help=known,
    )  # fmt: skip
