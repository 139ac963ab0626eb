"""Page faults on the host, the zero page, swap, and ``madvise``."""

from __future__ import annotations

import time

import pytest
from mm_host import Host

from mkold.mm.mm_types import (
    PFN_ERR_FAULT,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PRESENT,
    PTE_SWAP,
    PTE_WRITE,
)
from mkold.run.audit import audit


@pytest.fixture
def host() -> Host:
    return Host()


def test_reads_share_the_zero_page(host: Host) -> None:
    zero = host.node["zero_pfn"]
    assert [host.touch(page) for page in (3, 4)] == [zero, zero]
    assert not host.entry(3) & PTE_WRITE
    assert host.event("pgfault_zero") == 2
    assert host.node["nr_free"] == host.machine.frames, "no frame was used"


def test_a_write_gets_a_zeroed_frame_of_its_own(host: Host) -> None:
    pfn = host.touch(3, write=1)
    assert pfn != host.node["zero_pfn"]
    assert not host.machine.memory.words[pfn << 9 : (pfn + 1) << 9].any()
    assert host.entry(3) & PTE_WRITE
    assert host.entry(3) & PTE_DIRTY


def test_writing_a_zero_page_copies_it_and_the_accessed_bit_goes(host: Host) -> None:
    """As seen on real kernels: the copy zaps the secondary entry, and its bit with it."""
    host.touch(3)
    assert host.guest_young(3)
    pfn = host.call("hva_to_pfn", host.mm.at, 3, 1)  # the host writes, not the guest
    assert pfn != host.node["zero_pfn"]
    assert not host.guest_young(3)
    assert host.touch(3) == pfn, "the guest sees the copy, not the zero page"


def test_madvise_dontneed_drops_host_and_secondary_entry(host: Host) -> None:
    host.poke(host.touch(3, write=1), 77)
    host.call("madvise_dontneed", host.mm.at, 3, 4)
    assert host.entry(3) == 0
    assert not host.guest_young(3)
    assert host.node["nr_free"] == host.machine.frames
    assert host.peek(host.touch(3)) == 0, "it reads as zero again"


def test_the_hosts_entry_has_its_own_accessed_bit(host: Host) -> None:
    host.touch(3, write=1)
    assert host.entry(3) & PTE_ACCESSED, "the fault sets it"
    host.age()
    assert not host.entry(3) & PTE_ACCESSED
    host.flush()
    host.touch(3)
    assert host.guest_young(3)
    assert not host.entry(3) & PTE_ACCESSED, "a guest's access sets the secondary one only"


def test_content_survives_swap(host: Host) -> None:
    host = Host(n_pages=300, share=0.5)
    for page in range(300):
        host.poke(host.touch(page, write=1), page + 1)
    swapped = set(range(300)) - host.present()
    assert len(swapped) >= 150, "there was room for half"
    assert all(host.entry(page) & PTE_SWAP for page in swapped)
    assert [host.peek(host.touch(page)) for page in range(300)] == list(range(1, 301))
    assert audit_but_contents(host) == []


def audit_but_contents(host: Host) -> list[str]:
    """The audit without check values, since these tests write words of their own."""
    return [problem for problem in audit(host.machine) if "wrote last" not in problem]


def test_a_page_back_from_swap_is_clean_and_keeps_its_content() -> None:
    host = Host(n_pages=300, share=0.5)
    for page in range(300):
        host.poke(host.touch(page, write=1), page + 1)
    gone = next(page for page in range(300) if page not in host.present())
    host.touch(gone)
    assert host.entry(gone) & PTE_PRESENT
    assert not host.entry(gone) & PTE_DIRTY, "back from swap, clean"
    for page in range(300):
        host.touch(page)
    assert host.peek(host.touch(gone)) == gone + 1
    host.poke(host.touch(gone, write=1), 4711)
    for page in [*range(gone), *range(gone + 1, 300)]:
        host.touch(page)
    assert host.peek(host.touch(gone)) == 4711, "a page that was written is written back"


def test_recent_refaults_are_those_that_left_a_few_generations_ago() -> None:
    host = Host(n_pages=300, share=0.5)
    for page in range(300):
        host.touch(page, write=1)
    assert host.event("pswpin") == 0
    gone = sorted(set(range(300)) - host.present())
    host.touch(gone[-1])
    assert host.event("workingset_refault") == host.event("workingset_activate") == 1
    for _ in range(8):
        host.age()
        host.evict(8)
    host.touch(gone[0])
    assert host.event("workingset_refault") == host.event("pswpin") == 2
    assert host.event("workingset_activate") == 1, "that one left generations ago"


def test_swap_takes_as_long_as_stated() -> None:
    host = Host(n_pages=300, share=0.5, swap_latency_us=20_000.0)
    for page in range(300):
        host.touch(page, write=1)
    gone = next(page for page in range(300) if page not in host.present())
    began = time.perf_counter()
    host.touch(gone)
    waited = time.perf_counter() - began
    assert host.event("stall_cycles") >= host.node["swap_cycles"] == 20_000_000
    assert waited > 20_000_000 / 10e9, "no cycle counter runs at 10 GHz"


def test_no_memory_outside_the_vma(host: Host) -> None:
    assert host.call("hva_to_pfn", host.mm.at, host.n_pages, 0) == PFN_ERR_FAULT
    assert host.call("hva_to_pfn", host.mm.at, (1 << 64) - 1, 1) == PFN_ERR_FAULT


@pytest.mark.parametrize("page_size", ["4k", pytest.param("64k", marks=pytest.mark.slow)])
def test_all_frames_come_back(page_size: str) -> None:
    host = Host(n_pages=150, share=0.6, page_size=page_size)
    for page in range(150):
        host.touch(page, write=page & 1)
    assert audit_but_contents(host) == []
    host.call("madvise_dontneed", host.mm.at, 0, 150)
    assert host.node["nr_free"] == host.machine.frames
    assert host.call("nr_free_pages") == host.node["n_frames"] - 1, "all but the zero page"
    assert audit_but_contents(host) == []
