"""The retry counter: no fault installs what an invalidation just took away.

* A fault samples ``mmu_invalidate_seq``, then (``smp_rmb``) asks the host for the frame
  without a lock, then takes ``mmu_lock`` and asks ``mmu_invalidate_retry``.
* ``invalidate_range_start`` raises ``in_progress`` and unmaps, ``invalidate_range_end``
  raises the sequence and lowers ``in_progress``, each under ``mmu_lock``.
* While one invalidation runs, only faults in its range try again; several at once are
  covered by the union of their ranges.

Source: include/linux/kvm_host.h and virt/kvm/kvm_main.c (``mmu_invalidate_retry_hva``,
``kvm_mmu_invalidate_begin/end``).
"""

from __future__ import annotations

from mkold.kvm.types import Kvm
from mkold.lang import (
    BUG_ON,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    kernel,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    u64,
)


@kernel
def kvm_mmu_invalidate_begin(kvm: Ptr[Kvm], start: u64, end: u64) -> None:
    """Under ``mmu_lock``, before unmapping host pages ``[start, end)``."""
    in_progress = kvm.mmu_invalidate_in_progress + 1
    WRITE_ONCE(kvm.mmu_invalidate_in_progress, in_progress)
    if in_progress == 1:
        kvm.mmu_invalidate_range_start = start
        kvm.mmu_invalidate_range_end = end
    else:
        kvm.mmu_invalidate_range_start = min(kvm.mmu_invalidate_range_start, start)
        kvm.mmu_invalidate_range_end = max(kvm.mmu_invalidate_range_end, end)


@kernel
def kvm_mmu_invalidate_end(kvm: Ptr[Kvm]) -> None:
    """Under ``mmu_lock``, when the host's tables hold the new state.

    The release puts the host's new state before the number, also if it was written with
    no lock: taking ``mmu_lock`` orders nothing that came before it. (The kernel's
    increment is plain; there the page-table lock's release does this.)
    """
    smp_store_release(kvm.mmu_invalidate_seq, kvm.mmu_invalidate_seq + 1)
    smp_wmb()
    in_progress = kvm.mmu_invalidate_in_progress
    BUG_ON(in_progress == 0)
    WRITE_ONCE(kvm.mmu_invalidate_in_progress, in_progress - 1)


@kernel
def mmu_invalidate_retry(kvm: Ptr[Kvm], mmu_seq: u64, start: u64, end: u64) -> u64:
    """Under ``mmu_lock``: whether what was learned of host pages ``[start, end)`` since
    ``mmu_seq`` is stale."""
    if READ_ONCE(kvm.mmu_invalidate_in_progress) != 0:
        first = kvm.mmu_invalidate_range_start
        last = kvm.mmu_invalidate_range_end
        if start < last and first < end:
            return 1
    smp_rmb()
    return READ_ONCE(kvm.mmu_invalidate_seq) != mmu_seq


@kernel
def mmu_invalidate_retry_unlocked(kvm: Ptr[Kvm], mmu_seq: u64) -> u64:
    """Without ``mmu_lock``: whether what was learned of any page since ``mmu_seq`` may be
    stale.

    The caller holds a lock that whoever unmaps the page takes as well (of a reverse map, say):
    either it sees the invalidation here, or the invalidation finds its mapping there.
    """
    if READ_ONCE(kvm.mmu_invalidate_in_progress) != 0:
        return 1
    smp_rmb()  # pairs with smp_wmb() in kvm_mmu_invalidate_end()
    return READ_ONCE(kvm.mmu_invalidate_seq) != mmu_seq
