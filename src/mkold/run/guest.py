"""The guest: a vCPU that replays a trace and checks what it reads.

What an access is
-----------------
A row of the trace is a run of ``n`` accesses to one page. Each of the ``n`` is performed:
a look at the request word, a TLB lookup (``kvm_vcpu_access``), then a load or a store of
one word of the frame. What the program computed in between is not modelled. A vCPU performs
as many accesses as it is told, to the access, so that two machines can be given equal work;
a run of any length ends soon after the machine stops.

A frame's content is as many words as there are vCPUs, at least a cache line, not the whole
page: a guest of millions of pages then fits, and copying a page to and from swap costs
nothing beside the latency that swap is said to have.

World switches
--------------
Every ``switch_cycles`` the vCPU loses its TLB, as when its host thread was preempted and
ran on elsewhere. Without, a guest whose hot set fits the TLB never walks its tables, and
its pages look idle to any aging that reads them.

Check values
------------
Each vCPU owns one word of every page and keeps, in memory of its own, the value it wrote
there last. A write stores a value made from page and a count that never repeats; a read
compares. So a page that is lost, crossed with another, brought back stale, or freed under
the guest shows as a mismatch. ``touched`` is set for each page used, whatever the page
tables say.

Known limits: vCPUs replay the same trace from different places over the same pages; they
don't check each other's words.
"""

from __future__ import annotations

from mkold.kvm.tlb import kvm_make_request
from mkold.kvm.types import KVM_PFN_ERR, REQ_TLB_FLUSH_ALL, Kvm, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import (
    POISON,
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    cast,
    get_cycles,
    kernel,
    u64,
)
from mkold.mm.mm_types import PAGE_SHIFT

# One row of a trace is one word: page, run length, write.
ROW_PAGE_SHIFT = 32
ROW_RUN_MASK = (1 << 31) - 1
CHECK_MULTIPLIER = 0x9E3779B97F4A7C15
STRETCH = 1 << 16  # a longer run looks in between whether the machine stops
LOOK = 1 << 10  # accesses between two looks at the clock, for the next world switch


class Guest(Struct):
    """One vCPU's program and what it saw. The second half is written by the vCPU alone."""

    kvm: Ptr[Kvm]
    vcpu: Ptr[Vcpu]
    rows: Ptr[u64]  # this vCPU's part of the program
    n_rows: u64
    written: Ptr[u64]  # by page: the value this vCPU stored last
    touched: Ptr[u64]  # by page: used since somebody last looked
    first_gfn: u64  # the guest page that the program's page 0 is
    slot: u64  # which word of a page is this vCPU's
    switch_cycles: u64  # cycles from one world switch to the next; 0: there are none
    at: u64  # the row it is in
    done_of_row: u64  # accesses of that row that are done
    accesses: u64
    loops: u64  # times through the whole trace
    sequence: u64
    mismatches: u64
    poison_reads: u64
    bad_page: u64  # page and value of the first mismatch
    bad_value: u64
    next_switch: u64
    failed: u64  # the guest ran into memory it does not have
    pad: Array[u64, 4]


@kernel
def check_word(guest: Ptr[Guest], pfn: u64) -> Ptr[u64]:
    """This vCPU's word of frame ``pfn``."""
    return cast(Ptr[u64], (pfn << PAGE_SHIFT) + guest.slot)


@kernel
def report_mismatch(guest: Ptr[Guest], page: u64, value: u64) -> None:
    """A read did not give what was written last."""
    if guest.mismatches == 0:
        guest.bad_page = page
        guest.bad_value = value
    guest.mismatches += 1
    if value == POISON:
        guest.poison_reads += 1


@kernel
def guest_reads(guest: Ptr[Guest], page: u64, n: u64) -> u64:
    """``n`` loads from ``page``; how many were done before the vCPU had to stop."""
    expected = guest.written[page]
    gfn = page + guest.first_gfn
    for i in range(n):
        pfn = kvm_vcpu_access(guest.kvm, guest.vcpu, gfn, 0)
        if pfn >= KVM_PFN_ERR:
            return i
        word = check_word(guest, pfn)
        value = READ_ONCE(word.value)
        if value != expected:
            report_mismatch(guest, page, value)
    return n


@kernel
def guest_writes(guest: Ptr[Guest], page: u64, n: u64) -> u64:
    """``n`` stores to ``page``; how many were done before the vCPU had to stop."""
    gfn = page + guest.first_gfn
    for i in range(n):
        pfn = kvm_vcpu_access(guest.kvm, guest.vcpu, gfn, 1)
        if pfn >= KVM_PFN_ERR:
            return i
        guest.sequence += 1
        value = ((page << 40) ^ guest.sequence) * CHECK_MULTIPLIER
        word = check_word(guest, pfn)
        WRITE_ONCE(word.value, value)
        guest.written[page] = value
    return n


@kernel
def replay_part(guest: Ptr[Guest], row: u64, n: u64) -> u64:
    """``n`` accesses of ``row``; how many were done before the vCPU had to stop."""
    page = row >> ROW_PAGE_SHIFT
    if not READ_ONCE(guest.touched[page]):
        WRITE_ONCE(guest.touched[page], 1)
    done: u64 = 0
    if row & 1:
        done = guest_writes(guest, page, n)
    else:
        done = guest_reads(guest, page, n)
    guest.done_of_row += done
    WRITE_ONCE(guest.accesses, guest.accesses + done)
    return done


@kernel
def next_row(guest: Ptr[Guest]) -> None:
    """Go on to the row behind, from the last one to the first."""
    at = guest.at + 1
    if at == guest.n_rows:
        at = 0
        guest.loops += 1
    guest.done_of_row = 0
    WRITE_ONCE(guest.at, at)


@kernel
def world_switch(guest: Ptr[Guest]) -> None:
    """Lose the TLB if it is time."""
    if guest.switch_cycles:
        now = get_cycles()
        if now >= guest.next_switch:
            guest.next_switch = now + guest.switch_cycles
            kvm_make_request(guest.vcpu, REQ_TLB_FLUSH_ALL)


@kernel
def replay(guest: Ptr[Guest], max_accesses: u64) -> u64:
    """Run the guest until the machine stops or ``max_accesses`` are done.

    Returns
    -------
    accesses done; ``guest.failed`` tells whether the guest lacked memory
    """
    if kvm_vcpu_load(guest.kvm, guest.vcpu):
        return 0
    done: u64 = 0
    looked: u64 = 0
    while done < max_accesses:
        if READ_ONCE(guest.kvm.stop):
            break
        row = guest.rows[guest.at]
        left = ((row >> 1) & ROW_RUN_MASK) - guest.done_of_row
        part: u64 = left
        if part > max_accesses - done:
            part = max_accesses - done
        if part > STRETCH:
            part = STRETCH
        got = replay_part(guest, row, part)
        done += got
        if got != part:
            break
        if part == left:
            next_row(guest)
        looked += part
        if looked >= LOOK:
            looked = 0
            world_switch(guest)
    if done < max_accesses and not READ_ONCE(guest.kvm.stop):
        guest.failed = 1
    kvm_vcpu_put(guest.vcpu)
    return done
