"""Aging, eviction, look-around, second chance: what the LRU does on a real page table."""

from __future__ import annotations

import pytest
from mm_host import Host

from mkold.run.audit import audit

PATHS = ["locked", "lockless"]


def filled(n_pages: int = 200, path: str = "lockless", share: float = 1.0) -> Host:
    """All pages written, all accessed bits cleared, TLB empty."""
    host = Host(n_pages=n_pages, path=path, share=share)
    for page in range(n_pages):
        host.touch(page, write=1)
    host.age()
    host.flush()
    return host


@pytest.mark.parametrize("path", PATHS)
def test_aging_moves_exactly_the_touched_pages(path: str) -> None:
    host = filled(path=path)
    touched = {0, 1, 63, 64, 65, 127, 130, 199}
    old_max = host.node["lrugen.max_seq"]
    for page in touched:
        host.touch(page)
    before = {page: host.seq(page) for page in range(200)}
    host.age()
    moved = {page for page in range(200) if host.seq(page) != before[page]}
    assert moved == touched
    assert {host.seq(page) for page in touched} == {old_max}, "to what was the youngest"
    assert host.node["lrugen.max_seq"] == old_max + 1
    assert host.node["lrugen.aging.young"] - 200 == len(touched)


@pytest.mark.parametrize("path", PATHS)
def test_an_access_through_the_tlb_is_not_seen(path: str) -> None:
    """``clear_young`` does not flush, so a page in the TLB stays unmarked."""
    host = filled(path=path)
    host.touch(5)
    host.age()
    before = host.seq(5)
    host.touch(5)
    assert not host.guest_young(5)
    host.age()
    assert host.seq(5) == before
    host.flush()
    host.touch(5)
    host.age()
    assert host.seq(5) > before


def test_without_accessed_bits_aging_only_opens_a_generation() -> None:
    host = filled(path="none")
    host.touch(5)
    host.age()
    assert len({host.seq(page) for page in range(200)}) == 1
    assert host.guest_young(5), "nobody looked"


@pytest.mark.parametrize("path", PATHS)
def test_reclaim_evicts_no_touched_page(path: str) -> None:
    host = filled(path=path)
    for _ in range(2):
        for page in range(100):
            host.touch(page)
        host.age()
        host.flush()
    host.evict(60)
    gone = set(range(200)) - host.present()
    assert len(gone) >= 60
    assert min(gone) >= 100


@pytest.mark.parametrize("path", PATHS)
def test_second_chance_at_eviction(path: str) -> None:
    """A page used since the last pass is in the oldest generation, yet stays."""
    host = filled(path=path)
    host.age()
    host.age()
    kept = {10, 77, 150}
    for page in kept:
        host.touch(page)
    host.evict(150)
    assert kept <= host.present()
    assert host.event("rotated") >= 1
    assert all(host.seq(page) >= host.node["lrugen.max_seq"] - 1 for page in kept)


@pytest.mark.parametrize("path", PATHS)
def test_look_around_promotes_the_neighbours(path: str) -> None:
    """Pages of the next batch are safe because one of this batch, nearby, was young."""
    host = filled(n_pages=400, path=path)
    host.age()
    host.age()
    young = range(62, 90)
    for page in young:
        host.touch(page)
    host.evict(1)
    assert set(range(400)) - host.present() == set(range(62)), "the first batch of 64"
    assert host.event("rotated") == 2
    assert host.event("look_around") == 1
    assert {host.seq(page) for page in young} == {host.node["lrugen.max_seq"]}
    assert not any(host.guest_young(page) for page in young)


def test_look_around_stays_within_64_pages() -> None:
    host = filled(n_pages=400)
    host.age()
    host.age()
    for page in (100, 140, 300):
        host.touch(page)
    before = host.seq(300)
    assert host.evict(1) >= 1
    young = {page for page in (100, 140, 300) if page in host.present()}
    assert 300 in young
    assert host.seq(300) == before, "too far from any page that was evicted"
    assert host.guest_young(300)


def test_the_two_youngest_generations_are_not_evicted_from() -> None:
    host = Host(n_pages=100)
    for page in range(100):
        host.touch(page, write=1)
    max_seq = host.node["lrugen.max_seq"]
    host.evict(10)
    assert host.node["lrugen.max_seq"] > max_seq, "it had to age first"
    n_gens = host.node["lrugen.max_seq"] - host.node["lrugen.min_seq"] + 1
    assert 2 <= n_gens <= 4


@pytest.mark.parametrize("path", ["none", *PATHS])
def test_random_work_keeps_the_books(path: str) -> None:
    host = filled(n_pages=300, path=path, share=0.6)
    for step in range(600):
        host.touch((step * 7919) % 300, write=step & 1)
        if step % 50 == 0:
            host.age()
        if step % 90 == 0:
            host.evict(20)
            assert [p for p in audit(host.machine) if "wrote last" not in p] == []


def test_a_vm_in_hash_mode_looks_idle_to_a_batch_but_is_not_asked_wrongly() -> None:
    host = filled()
    host.touch(3)
    assert host.call("kvm_vm_ioctl_configure_mmu", host.machine.kvm.at, 0) == 0
    before = host.seq(3)
    host.age()
    assert host.seq(3) == before
    assert host.call("kvm_vm_ioctl_configure_mmu", host.machine.kvm.at, 1) == 0
    host.touch(3)
    assert host.guest_young(3)


def test_tables_sparse_in_young_pages_leave_the_filter() -> None:
    """The next walk that heeds the filter skips them; a forced one does not."""
    host = Host(n_pages=2 * 512)
    for page in range(2 * 512):
        host.touch(page, write=1)
    host.age()
    host.flush()
    for page in range(0, 512, 4):
        host.touch(page)
    host.touch(600)
    host.age()
    filtered = host.node["lrugen.aging.tables_filtered"]
    host.call("try_to_inc_max_seq", host.mm.at, host.node["lrugen.max_seq"], 0)
    assert host.node["lrugen.aging.tables_filtered"] == filtered + 1
    host.age()
    assert host.node["lrugen.aging.tables_filtered"] == filtered + 1
