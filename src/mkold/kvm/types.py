"""Structs of KVM that its files share.

Units: ``gfn`` guest page number, ``hva`` host page number (virtual address / page size),
``pfn`` frame number; guest and host pages have one size. Ranges are half-open.

Locks: ``mmu_lock`` guards the tables' structure, every change of an entry but the
accessed and dirty bits, and the ``mmu_invalidate_*`` words.

An architecture's part of a VM or of a vCPU lies behind the generic one, which ends on a
cache line: the architecture derives a struct of the same name with one field more::

    class Kvm(mkold.kvm.types.Kvm):
        arch: KvmArch

Its own code then says ``kvm.arch.radix``, at no cost; generic code knows no ``arch``, and
whoever makes a VM takes the struct from the architecture (``mkold.kvm.machine``).

Known limits: no vCPU runs while memslots come or go (no SRCU on them).

Source: include/linux/kvm_host.h.
"""

from __future__ import annotations

from mkold.lang import (
    Array,
    Ptr,
    Struct,
    atomic64_t,
    parameter,
    rwlock_t,
    spinlock_t,
    u64,
)
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import MmuNotifier

KVM_MEM_SLOTS = 8
KVM_MAX_VCPUS = 62  # with the host's thread and whoever boots: ir.boot.MAX_CPUS

# A vCPU's TLB holds 1 << TLB_BITS entries.
TLB_BITS = parameter("TLB_BITS", 10)
# 1: count cycles spent waiting for mmu_lock and in faults. 0 leaves only the work itself.
LOCK_STAT = parameter("LOCK_STAT", 1)
# 1: clear_flush_young leaves translations as clear_young does (x86, from Linux 6.13 on).
KVM_ELIDE_TLB_FLUSH_IF_YOUNG = parameter("KVM_ELIDE_TLB_FLUSH_IF_YOUNG", 0)

# vcpu.mode
OUTSIDE_GUEST_MODE = 0
IN_GUEST_MODE = 1
READING_SHADOW_PAGE_TABLES = 2  # in the hypervisor, in tables that are freed by a flush

# vcpu.request: 0 nothing, else one of these, or a range to flush (``kvm.tlb``).
REQ_TLB_FLUSH_ALL = 1
REQ_KICK = 2

# kvm.manual_dirty_log_protect (``dirty_log``)
KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE = 1
KVM_DIRTY_LOG_INITIALLY_SET = 2

# Fault latencies in cycles, log-linear: 1 << HIST_BITS buckets to each power of two.
HIST_BITS = 5
HIST_BUCKETS = (64 - HIST_BITS + 1) << HIST_BITS

# What a fault returns; 0 is "go back to the guest".
RESUME_GUEST = 0
RESUME_HOST = 1  # not memory of the guest, or the machine is being stopped

# ``kvm_vcpu_access`` results that are no frame number.
KVM_PFN_ERR = 1 << 62


class MemorySlot(Struct):
    """``struct kvm_memory_slot``; 8 words.

    ``max_level`` is the largest leaf (0 base page, 1 PMD, 2 PUD) that the memory behind
    the slot is contiguous and aligned for. ``dirty_bitmap`` has one bit a page, lowest
    bit first, or is NULL. ``rmap`` has a word a page where the architecture keeps a reverse
    map (``kvm_arch_create_memslot``), or is NULL.
    """

    base_gfn: u64
    npages: u64
    userspace_addr: u64  # host page
    max_level: u64
    dirty_bitmap: Ptr[u64]
    rmap: Ptr[u64]
    pad: Array[u64, 2]


class TlbEntry(Struct):
    """One translation: ``tag`` is ``gfn + 1`` (0: empty), ``data`` is ``pfn << 1``, low
    bit set if the guest may write without telling the page table (writable, C known)."""

    tag: u64
    data: u64


class VcpuStat(Struct):
    """Counters of one vCPU, written by it alone."""

    tlb_misses: u64
    faults: u64
    retries: u64  # faults that met an invalidation
    lock_waits: u64
    lock_wait_cycles: u64
    fault_cycles: u64
    tlb_flushes: u64
    exits: u64


class Vcpu(Struct):
    """``struct kvm_vcpu``. The first line is the vCPU's own but for ``request``.

    ``fault_hist`` has ``HIST_BUCKETS`` counts of faults by latency, or is NULL.
    """

    request: atomic64_t
    tlb: Ptr[TlbEntry]
    kvm: u64
    vcpu_id: u64
    mode: u64
    fault_hist: Ptr[u64]
    pad: Array[u64, 2]
    stat: VcpuStat


class KvmStat(Struct):
    """Counters of the aging and unmapping side; updated under the lock they speak of,
    or atomically."""

    fast_refused: atomic64_t
    lock_waits: u64
    lock_wait_cycles: u64
    unmapped: u64
    tlb_flushes: u64
    huge_split: u64  # tables put in the place of a large leaf
    pad: Array[u64, 2]


class Kvm(Struct):
    """``struct kvm``. ``notifier`` comes first: a subscription's address is the VM's."""

    notifier: MmuNotifier
    mm: Ptr[Mm]
    n_slots: u64
    n_vcpus: u64
    stop: u64  # vCPUs leave as soon as they see it
    manual_dirty_log_protect: u64
    pad0: u64
    mmu_lock: spinlock_t  # this, or the next (``mkold.kvm.mmu_lock``)
    mmu_rwlock: rwlock_t
    mmu_invalidate_seq: u64
    mmu_invalidate_in_progress: u64
    mmu_invalidate_range_start: u64  # hva
    mmu_invalidate_range_end: u64
    pad1: Array[u64, 2]
    stat: KvmStat
    slots: Array[MemorySlot, KVM_MEM_SLOTS]
    vcpus: Array[u64, KVM_MAX_VCPUS]
