"""The guest: a vCPU that replays a trace and checks what it reads.

What an access is
-----------------
A row of the trace is a run of ``n`` accesses to one page. Each of the ``n`` is performed:
a look at the request word, a TLB lookup (``kvm_vcpu_access``), then a load or a store of
one word of the frame. What the program computed in between is not modelled. A run of any
length ends soon after the machine stops.

Check values
------------
Each vCPU owns one word of every page (its place varies by page, so that pages don't fight
for one set of the cache) and keeps, in memory of its own, the value it wrote there last.
A write stores a value made from page and a count that never repeats; a read compares. So
a page that is lost, crossed with another, brought back stale, or freed under the guest
shows as a mismatch. ``touched`` is set for each page used, whatever the page tables say.

Known limits: vCPUs replay the same trace from different places over the same pages; they
don't check each other's words.
"""

from __future__ import annotations

from mkold.kvm.types import KVM_PFN_ERR, Kvm, Vcpu
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
MAX_VCPUS = 8  # words in the line of a page that holds check values


class Guest(Struct):
    """One vCPU's program and what it saw. The second half is written by the vCPU alone."""

    kvm: Ptr[Kvm]
    vcpu: Ptr[Vcpu]
    rows: Ptr[u64]
    n_rows: u64
    written: Ptr[u64]  # by page: the value this vCPU stored last
    touched: Ptr[u64]  # by page: used since somebody last looked
    slot: u64  # which word of a page's line is this vCPU's
    pad0: u64
    at: u64  # the next row
    accesses: u64
    loops: u64  # times through the whole trace
    sequence: u64
    mismatches: u64
    poison_reads: u64
    bad_page: u64  # page and value of the first mismatch
    bad_value: u64
    ended: u64  # cycle counter when the replay ended
    failed: u64  # the guest ran into memory it does not have
    pad1: Array[u64, 6]


@kernel
def check_word(guest: Ptr[Guest], pfn: u64, page: u64) -> Ptr[u64]:
    """This vCPU's word of the page, in frame ``pfn``."""
    line = (page << 3) & ((1 << PAGE_SHIFT) - 1)
    return cast(Ptr[u64], (pfn << PAGE_SHIFT) + (line | guest.slot))


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
    for i in range(n):
        pfn = kvm_vcpu_access(guest.kvm, guest.vcpu, page, 0)
        if pfn >= KVM_PFN_ERR:
            return i
        word = check_word(guest, pfn, page)
        value = READ_ONCE(word.value)
        if value != expected:
            report_mismatch(guest, page, value)
    return n


@kernel
def guest_writes(guest: Ptr[Guest], page: u64, n: u64) -> u64:
    """``n`` stores to ``page``; how many were done before the vCPU had to stop."""
    for i in range(n):
        pfn = kvm_vcpu_access(guest.kvm, guest.vcpu, page, 1)
        if pfn >= KVM_PFN_ERR:
            return i
        guest.sequence += 1
        value = ((page << 40) ^ guest.sequence) * CHECK_MULTIPLIER
        word = check_word(guest, pfn, page)
        WRITE_ONCE(word.value, value)
        guest.written[page] = value
    return n


@kernel
def replay_row(guest: Ptr[Guest], row: u64) -> bool:
    """One run of accesses; False when the vCPU has to stop."""
    page = row >> ROW_PAGE_SHIFT
    left = (row >> 1) & ROW_RUN_MASK
    while left:
        part: u64 = left
        if part > STRETCH:
            part = STRETCH
        if not READ_ONCE(guest.touched[page]):
            WRITE_ONCE(guest.touched[page], 1)
        done: u64 = 0
        if row & 1:
            done = guest_writes(guest, page, part)
        else:
            done = guest_reads(guest, page, part)
        WRITE_ONCE(guest.accesses, guest.accesses + done)
        if done != part:
            return False
        left -= part
        if left and READ_ONCE(guest.kvm.stop):
            return False
    return True


@kernel
def replay(guest: Ptr[Guest], max_rows: u64) -> u64:
    """Run the guest until the machine stops or ``max_rows`` rows are done.

    Returns
    -------
    rows done; ``guest.failed`` tells whether the guest lacked memory
    """
    if kvm_vcpu_load(guest.kvm, guest.vcpu):
        return 0
    done: u64 = 0
    while done < max_rows:
        if READ_ONCE(guest.kvm.stop):
            break
        if not replay_row(guest, guest.rows[guest.at]):
            break
        done += 1
        at = guest.at + 1
        if at == guest.n_rows:
            at = 0
            guest.loops += 1
        WRITE_ONCE(guest.at, at)
    if done < max_rows and not READ_ONCE(guest.kvm.stop):
        guest.failed = 1
    kvm_vcpu_put(guest.vcpu)
    guest.ended = get_cycles()
    return done
