"""KVM's retry counter, read too late: a fault installs what the VMA said before it changed.

The fault looks at the VMA under ``mmap_lock`` and installs under ``mmu_lock``; in between the
VMA may change, which counts ``mmu_invalidate_seq`` up.

    mkold check docs/gallery/mmu_invalidate_seq.py --explain
"""

from mkold.check import Before, Case, Claim, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    read_lock,
    read_unlock,
    rwlock_t,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
    write_lock,
    write_unlock,
)

SOURCE = (
    'commit 13ec9308a857 ("KVM: arm64: Retry fault if vma_lookup() results become invalid")'
)
SENTENCE = "What a fault installs fits the VMA."

OLD_SHIFT, NEW_SHIFT = 21, 12


class Kvm(Struct):
    mmap_lock: rwlock_t
    vma_shift: u64
    mmu_lock: spinlock_t
    mmu_invalidate_seq: u64
    pte: u64


@kernel
def user_mem_abort(kvm: Ptr[Kvm]) -> None:
    read_lock(kvm.mmap_lock)
    shift = READ_ONCE(kvm.vma_shift)
    seq = READ_ONCE(kvm.mmu_invalidate_seq)
    read_unlock(kvm.mmap_lock)
    spin_lock(kvm.mmu_lock)
    if READ_ONCE(kvm.mmu_invalidate_seq) == seq:  # mmu_invalidate_retry()
        WRITE_ONCE(kvm.pte, shift)
    spin_unlock(kvm.mmu_lock)


@kernel
def change_vma(kvm: Ptr[Kvm]) -> None:
    write_lock(kvm.mmap_lock)
    spin_lock(kvm.mmu_lock)
    WRITE_ONCE(kvm.pte, 0)
    seq = READ_ONCE(kvm.mmu_invalidate_seq)
    WRITE_ONCE(kvm.mmu_invalidate_seq, seq + 1)
    spin_unlock(kvm.mmu_lock)
    WRITE_ONCE(kvm.vma_shift, NEW_SHIFT)
    write_unlock(kvm.mmap_lock)


def fault_and_change(m: Setup) -> None:
    kvm = m.new(Kvm, "kvm")
    m.poke(kvm + Kvm.offset("vma_shift"), OLD_SHIFT)
    m.watch("kvm.pte", kvm + Kvm.offset("pte"))
    m.thread("fault", (user_mem_abort, kvm))
    m.thread("mmap", (change_vma, kvm))
    m.never("stale", lambda end: end["kvm.pte"] == OLD_SHIFT, "The entry fits no VMA.")


SCENARIO = Scenario("retry", fault_and_change)
LATE = (Before("user_mem_abort:read_unlock", "user_mem_abort:READ_ONCE[1]"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("the counter read under mmap_lock", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("read after it", SCENARIO, LATE),)),
]
