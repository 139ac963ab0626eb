"""An audit of a stopped machine: every frame, folio and check value accounted for.

Rules
-----
* Each frame is free, the zero page, or mapped by exactly one host page; the budget agrees.
* A mapped frame's folio is on exactly one list and says which page maps it; a generation's
  lists hold as many folios as the tables map.
* Each vCPU's word of each page, in its frame, in swap, or zero if the page never had
  content, is what that vCPU wrote last.
* The architecture's own books agree, where it has any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mkold.mm.mm_types import (
    FOLIO_GEN_MASK,
    MAX_NR_GENS,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_SWAP,
    Folio,
    ListHead,
    Node,
)
from mkold.run.layout import word_offset
from mkold.run.machine import Machine

Words = NDArray[np.uint64]
_NO_PFN = np.uint64(0)


def host_entries(machine: Machine) -> Words:
    """The host's page-table entries, by page; 0 where there is no table."""
    words, mm = machine.memory.words, machine.mm
    n_pages, step = machine.n_pages, machine.ptrs_per_pte
    out = np.zeros(mm["n_tables"] * step, np.uint64)
    for i in range(mm["n_tables"]):
        table = int(words[mm["pmd"] + i])
        if table:
            out[i * step : (i + 1) * step] = words[table : table + step]
    return out[:n_pages]


def entry_pfns(entries: Words) -> Words:
    """Frame numbers of present entries, 0 for others."""
    pfns = (entries & np.uint64(PTE_PFN_MASK)) >> np.uint64(PTE_PFN_SHIFT)
    present = (entries & np.uint64(PTE_PRESENT)) != 0
    return np.where(present, pfns, _NO_PFN)


def audit(machine: Machine) -> list[str]:
    """What is wrong with a stopped machine; empty if nothing is."""
    entries = host_entries(machine)
    pfns = entry_pfns(entries)
    zero_pfn = np.uint64(machine.node["zero_pfn"])
    own = (pfns != _NO_PFN) & (pfns != zero_pfn)
    return [
        *_frames(machine, pfns[own]),
        *_folios(machine, pfns, own),
        *_contents(machine, entries, pfns),
        *_architecture(machine),
    ]


def _architecture(machine: Machine) -> list[str]:
    nesting = machine.spec.nesting
    audit = (nesting and nesting.audit) or machine.arch.audit
    wrong = machine.call(audit.name, machine.kvm.at) if audit else 0
    return [f"rule {wrong} of {machine.arch.name}'s own audit is broken"] if wrong else []


def _frames(machine: Machine, mapped: Words) -> list[str]:
    problems = []
    n_mapped = len(mapped)
    if len(np.unique(mapped)) != n_mapped:
        problems.append("a frame is mapped by two host pages")
    free = machine.call("nr_free_pages")
    total = machine.node["n_frames"]
    if free != total - n_mapped - 1:
        problems.append(f"{free} frames free, {n_mapped} mapped, 1 zero page, of {total}")
    if machine.node["nr_free"] != machine.frames - n_mapped:
        left = machine.node["nr_free"]
        problems.append(f"the budget has {left} of {machine.frames} left, {n_mapped} mapped")
    return problems


def _folios(machine: Machine, pfns: Words, own: NDArray[np.bool_]) -> list[str]:
    words, node = machine.memory.words, machine.node
    first = node["folios"]
    folios = words[first : first + node["n_frames"] * Folio.size].reshape(-1, Folio.size)
    index = (pfns[own] - np.uint64(node["start_pfn"])).astype(np.int64)
    problems = []
    if (folios[index, Folio.offset("index")] != np.flatnonzero(own)).any():
        problems.append("a folio does not name the page that maps it")
    if (folios[index, Folio.offset("flags")] & np.uint64(FOLIO_GEN_MASK) == 0).any():
        problems.append("a mapped folio is on no list")
    listed = [_list(machine, gen) for gen in range(MAX_NR_GENS)]
    all_listed = np.array(sorted(a for gen in listed for a in gen), np.uint64)
    expected = np.sort(np.uint64(first) + index.astype(np.uint64) * np.uint64(Folio.size))
    if not np.array_equal(all_listed, expected):
        problems.append(f"{len(all_listed)} folios are listed, {len(expected)} mapped")
    counted = int(node.array("lrugen.nr_pages").sum())
    if counted != len(expected):
        problems.append(f"generations count {counted} pages, {len(expected)} are mapped")
    return problems


def _list(machine: Machine, gen: int) -> list[int]:
    """Addresses on one generation's list."""
    words, node = machine.memory.words, machine.node
    head = node.at + word_offset(Node, "lrugen.lists") + gen * ListHead.size
    found: list[int] = []
    at = int(words[head])
    while at != head and len(found) <= node["n_frames"]:
        found.append(at)
        at = int(words[at])
    return found


def _contents(machine: Machine, entries: Words, pfns: Words) -> list[str]:
    words, shift = machine.memory.words, machine.page_shift
    pages = np.arange(machine.n_pages, dtype=np.uint64)
    in_swap = (entries & np.uint64(PTE_SWAP)) != 0
    base = np.where(in_swap, (pages << np.uint64(shift)) + np.uint64(machine.mm["swap_area"]),
                    pfns << np.uint64(shift))  # fmt: skip
    problems = []
    own = machine.own_pages
    for i, guest in enumerate(machine.guests):
        where = (base[own:] + np.uint64(guest["slot"])).astype(np.int64)
        held = np.where(base[own:] != 0, words[where], np.uint64(0))
        written = words[guest["written"] : guest["written"] + machine.n_pages - own]
        lost = int((held != written).sum())
        if lost:
            problems.append(f"{lost} pages do not hold what vCPU {i} wrote last")
    return problems
