"""``mmu_lock``, taken so that the time lost waiting for it is known.

``waits`` points to two words of the caller's: how often it waited and for how many cycles.
The free lock costs one ``spin_trylock``; nobody reads a clock unless they wait.
"""

from __future__ import annotations

from mkold.kvm.types import LOCK_STAT, Kvm
from mkold.lang import Ptr, get_cycles, kernel, spin_lock, spin_trylock, spin_unlock, u64


@kernel
def kvm_mmu_lock(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Take ``mmu_lock``; ``waits`` is the caller's own or guarded by the lock."""
    if LOCK_STAT:
        if not spin_trylock(kvm.mmu_lock):
            start = get_cycles()
            spin_lock(kvm.mmu_lock)
            waits[0] += 1
            waits[1] += get_cycles() - start
    else:
        spin_lock(kvm.mmu_lock)


@kernel
def kvm_mmu_unlock(kvm: Ptr[Kvm]) -> None:
    """Release ``mmu_lock``."""
    spin_unlock(kvm.mmu_lock)
