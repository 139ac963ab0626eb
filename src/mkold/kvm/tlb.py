"""The flush protocol between whoever unmaps and the vCPUs' TLBs.

A vCPU's TLB belongs to its thread alone. To flush, the host posts a request in
``vcpu.request`` and waits until the vCPU took it or is outside guest mode:

* vCPU: at each access, *before* anything else, reads ``request``; if set, takes it with
  ``xchg`` and drops the entries named. From one access to the next it may use what the
  first one returned: taking a request is the promise that it no longer does.
* vCPU entering: ``mode = IN_GUEST_MODE``, ``smp_mb``, then looks at ``request``.
  Host: posts (a full barrier), then looks at ``mode``. One of the two sees the other.
* A vCPU that faults leaves guest mode before it takes ``mmu_lock``, so the host may wait
  for vCPUs while it holds ``mmu_lock``. A vCPU never waits for anything in guest mode.
* A vCPU in guest mode also walks the tables; tables are unlinked, flushed, then freed. One in
  the hypervisor that walks tables without a lock says so (``READING_SHADOW_PAGE_TABLES``), and
  is waited for until it does not.

Requests merge: two different ranges become ``REQ_TLB_FLUSH_ALL``. A range is
``gfn << 16 | n << 2`` with ``n`` pages.

Callers hold ``mmu_lock`` (posts from two flushers could keep each other waiting).

Sources: kvm_make_all_cpus_request and IN_GUEST_MODE in virt/kvm/kvm_main.c and
include/linux/kvm_host.h; tlbie's broadcast and ptesync: Power ISA 3.0B, Book III.
Known limits: on hardware tlbie waits for nothing but the broadcast; here the wait lasts
until the vCPU's next access, or as long as its thread is preempted.
"""

from __future__ import annotations

from mkold.kvm.arch import kvm_arch_flush_remote_tlbs, kvm_arch_flush_remote_tlbs_range
from mkold.kvm.types import (
    OUTSIDE_GUEST_MODE,
    REQ_TLB_FLUSH_ALL,
    TLB_BITS,
    Kvm,
    Vcpu,
)
from mkold.lang import (
    Ptr,
    addr,
    cast,
    cpu_relax,
    kernel,
    smp_load_acquire,
    try_cmpxchg,
    u64,
    xchg,
)

REQ_FLAGS = 3
REQ_MAX_RANGE = 1 << 13  # longer ranges flush everything


@kernel
def kvm_vcpu_of(kvm: Ptr[Kvm], i: u64) -> Ptr[Vcpu]:
    """vCPU number ``i``."""
    return cast(Ptr[Vcpu], kvm.vcpus[i])


@kernel
def flush_request(gfn: u64, n: u64) -> u64:
    """The request word for ``n`` guest pages from ``gfn`` on."""
    if n > REQ_MAX_RANGE:
        return REQ_TLB_FLUSH_ALL
    return (gfn << 16) | (n << 2)


@kernel
def merge_requests(a: u64, b: u64) -> u64:
    """One request that asks for at least what both ask for."""
    flags = (a | b) & REQ_FLAGS
    range_a = a & ~REQ_FLAGS
    range_b = b & ~REQ_FLAGS
    if range_a and range_b and range_a != range_b:
        return flags | REQ_TLB_FLUSH_ALL
    return flags | range_a | range_b


@kernel
def kvm_make_request(vcpu: Ptr[Vcpu], request: u64) -> None:
    """Post ``request``. A full barrier, also when it was already there."""
    ok, old = try_cmpxchg(vcpu.request, 0, request)
    while not ok:
        ok, old = try_cmpxchg(vcpu.request, old, merge_requests(old, request))


@kernel
def kvm_wait_for_vcpu(vcpu: Ptr[Vcpu]) -> None:
    """Until the vCPU took its requests, or is in no table."""
    while smp_load_acquire(vcpu.request) != 0:
        if smp_load_acquire(vcpu.mode) == OUTSIDE_GUEST_MODE:
            break
        cpu_relax()


@kernel
def kvm_make_all_request(kvm: Ptr[Kvm], request: u64) -> None:
    """Post to every vCPU, then wait for every vCPU."""
    n = smp_load_acquire(kvm.n_vcpus)
    for i in range(n):
        kvm_make_request(kvm_vcpu_of(kvm, i), request)
    for i in range(n):
        kvm_wait_for_vcpu(kvm_vcpu_of(kvm, i))


@kernel
def kvm_flush_remote_tlbs_range(kvm: Ptr[Kvm], gfn: u64, nr_pages: u64) -> None:
    """No vCPU uses a translation of ``[gfn, gfn + nr_pages)`` made before the call."""
    kvm.stat.tlb_flushes += 1
    if kvm_arch_flush_remote_tlbs_range(kvm, gfn, nr_pages):
        kvm_make_all_request(kvm, flush_request(gfn, nr_pages))


@kernel
def kvm_flush_remote_tlbs(kvm: Ptr[Kvm]) -> None:
    """No vCPU uses any translation that was made before the call."""
    kvm.stat.tlb_flushes += 1
    if kvm_arch_flush_remote_tlbs(kvm):
        kvm_make_all_request(kvm, REQ_TLB_FLUSH_ALL)


@kernel
def kvm_vcpu_take_request(vcpu: Ptr[Vcpu]) -> u64:
    """On the vCPU's own thread: take the request, flush what it names, return it."""
    request = xchg(vcpu.request, 0)
    tlb = vcpu.tlb
    if request & REQ_TLB_FLUSH_ALL:
        for i in range(1 << TLB_BITS):
            tlb[i].tag = 0
    else:
        first = request >> 16
        n = (request >> 2) & (2 * REQ_MAX_RANGE - 1)
        for i in range(n):
            entry = addr(tlb[(first + i) & ((1 << TLB_BITS) - 1)])
            if entry.tag == first + i + 1:
                entry.tag = 0
    vcpu.stat.tlb_flushes += 1
    return request


@kernel
def tlb_fill(vcpu: Ptr[Vcpu], gfn: u64, pfn: u64, may_write: u64) -> None:
    """On the vCPU's own thread, by its hardware: remember that ``gfn`` is ``pfn``."""
    entry = addr(vcpu.tlb[gfn & ((1 << TLB_BITS) - 1)])
    entry.tag = gfn + 1
    entry.data = (pfn << 1) | may_write
