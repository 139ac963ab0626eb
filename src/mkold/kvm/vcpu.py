"""A vCPU: guest memory accesses, and the ways in and out of guest mode.

``kvm_vcpu_access`` is what one load or store of the guest does: TLB, else the hardware's
walk, else a fault. It returns the frame; the caller may touch that frame's content until
its next call here (``kvm.tlb`` says why), so the loop that replays a trace calls
``kvm_vcpu_load`` first, then nothing but accesses, and ``kvm_vcpu_put`` at the end.

Source: kvmhv_run_single_vcpu in arch/powerpc/kvm/book3s_hv.c.
"""

from __future__ import annotations

from mkold.kvm.arch import (
    kvm_arch_vcpu_page_fault,
    kvm_arch_vcpu_runnable,
    kvm_arch_vcpu_walk,
)
from mkold.kvm.tlb import kvm_vcpu_take_request
from mkold.kvm.types import (
    HIST_BITS,
    IN_GUEST_MODE,
    KVM_PFN_ERR,
    LOCK_STAT,
    OUTSIDE_GUEST_MODE,
    REQ_KICK,
    RESUME_GUEST,
    TLB_BITS,
    Kvm,
    TlbEntry,
    Vcpu,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cpu_relax,
    get_cycles,
    kernel,
    smp_mb,
    smp_store_release,
    u64,
)


@kernel
def kvm_vcpu_init(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], tlb: Ptr[TlbEntry]) -> None:
    """Make ``vcpu`` (zeroed words) the next vCPU; ``tlb`` has 1 << TLB_BITS entries.

    Call before any vCPU runs, from one thread.
    """
    for i in range(1 << TLB_BITS):
        tlb[i].tag = 0
    n = kvm.n_vcpus
    vcpu.tlb = tlb
    vcpu.kvm = kvm
    vcpu.vcpu_id = n
    vcpu.mode = OUTSIDE_GUEST_MODE
    vcpu.request = 0
    kvm.vcpus[n] = vcpu
    smp_store_release(kvm.n_vcpus, n + 1)


@kernel
def kvm_vcpu_load(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Enter guest mode; waits while the VM has no usable tables.

    Returns
    -------
    0 in guest mode; 1 the machine is being stopped, guest mode was not entered
    """
    while True:
        WRITE_ONCE(vcpu.mode, IN_GUEST_MODE)
        smp_mb()  # pairs with the barrier in kvm_make_request, and of whoever stops vCPUs
        request = 0
        if READ_ONCE(vcpu.request) != 0:
            request = kvm_vcpu_take_request(vcpu)
        if kvm_arch_vcpu_runnable(kvm, vcpu) and not (request & REQ_KICK):
            return 0
        smp_store_release(vcpu.mode, OUTSIDE_GUEST_MODE)
        while not kvm_arch_vcpu_runnable(kvm, vcpu):
            if READ_ONCE(kvm.stop):
                return 1
            cpu_relax()


@kernel
def kvm_vcpu_put(vcpu: Ptr[Vcpu]) -> None:
    """Leave guest mode; what the last access returned may no longer be used."""
    smp_store_release(vcpu.mode, OUTSIDE_GUEST_MODE)
    vcpu.stat.exits += 1


@kernel
def kvm_vcpu_service(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """At an access boundary with a request pending; 1 if the vCPU must stop."""
    request = kvm_vcpu_take_request(vcpu)
    if request & REQ_KICK:
        kvm_vcpu_put(vcpu)
        return kvm_vcpu_load(kvm, vcpu)
    return 0


@kernel
def latency_bucket(cycles: u64) -> u64:
    """Which count of a histogram ``cycles`` falls into (``HIST_BITS``)."""
    shift = 0
    while (cycles >> shift) >> (HIST_BITS + 1):
        shift += 1
    return (shift << HIST_BITS) + (cycles >> shift)


@kernel
def kvm_vcpu_count_fault(vcpu: Ptr[Vcpu], cycles: u64) -> None:
    """Add a fault to the vCPU's statistics, as ``kvm_stats_log_hist_update`` does."""
    vcpu.stat.fault_cycles += cycles
    if vcpu.fault_hist != NULL:
        vcpu.fault_hist[latency_bucket(cycles)] += 1


@kernel
def kvm_vcpu_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """One fault, and how long it took."""
    if not LOCK_STAT:
        return kvm_arch_vcpu_page_fault(kvm, vcpu, gfn, write)
    start = get_cycles()
    result = kvm_arch_vcpu_page_fault(kvm, vcpu, gfn, write)
    kvm_vcpu_count_fault(vcpu, get_cycles() - start)
    return result


@kernel
def kvm_vcpu_miss(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """The access that found nothing in the TLB: walk, and fault until the walk works."""
    vcpu.stat.tlb_misses += 1
    while True:
        ok, pfn = kvm_arch_vcpu_walk(kvm, vcpu, gfn, write)
        if ok:
            return pfn
        kvm_vcpu_put(vcpu)
        if kvm_vcpu_fault(kvm, vcpu, gfn, write) != RESUME_GUEST:
            return KVM_PFN_ERR
        if READ_ONCE(kvm.stop) or kvm_vcpu_load(kvm, vcpu):
            return KVM_PFN_ERR


@kernel
def kvm_vcpu_access(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """One access of the guest to page ``gfn``; ``write`` is 0 or 1.

    Returns
    -------
    The frame, or ``KVM_PFN_ERR`` and out of guest mode: no memory there, or stopping.
    """
    if READ_ONCE(vcpu.request) != 0 and kvm_vcpu_service(kvm, vcpu):
        return KVM_PFN_ERR
    entry = addr(vcpu.tlb[gfn & ((1 << TLB_BITS) - 1)])
    data = entry.data
    if entry.tag == gfn + 1 and write <= (data & 1):
        return data >> 1
    return kvm_vcpu_miss(kvm, vcpu, gfn, write)
