"""KVM on x86: write-protecting an SPTE by a plain write loses the Dirty bit that a CPU sets.

``mmu_lock`` keeps other KVM code out, not the hardware, which sets Dirty on its own while
the entry is writable.

    mkold check docs/gallery/spte_volatile.py --explain
"""

from mkold.check import Case, Claim, End, Scenario, Setup, Split
from mkold.lang import (
    READ_ONCE,
    Ptr,
    Struct,
    cmpxchg,
    kernel,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
    xchg,
)

SOURCE = (
    "commit ba3a6120a4e7 "
    '("KVM: x86/mmu: Use atomic XCHG to write TDP MMU SPTEs with volatile bits")'
)
SENTENCE = "A page that the guest has written is known to be dirty."

WRITABLE, DIRTY = 1 << 1, 1 << 9


class Kvm(Struct):
    mmu_lock: spinlock_t
    spte: u64


@kernel
def guest_write(kvm: Ptr[Kvm]) -> bool:
    """What the CPU does: it writes if it can set Dirty in a writable entry, else it faults."""
    spte = READ_ONCE(kvm.spte)
    if not spte & WRITABLE:
        return False
    return cmpxchg(kvm.spte, spte, spte | DIRTY) == spte


@kernel
def tdp_mmu_write_protect(kvm: Ptr[Kvm]) -> bool:
    """Whether the entry was dirty, as KVM saw it."""
    spin_lock(kvm.mmu_lock)
    spte = READ_ONCE(kvm.spte)
    old = xchg(kvm.spte, spte & ~(WRITABLE | DIRTY))
    spin_unlock(kvm.mmu_lock)
    return (old & DIRTY) != 0


def guest_and_kvm(m: Setup) -> None:
    kvm = m.new(Kvm, "kvm")
    m.poke(kvm + 1, WRITABLE)
    m.watch("kvm.spte", kvm + 1)
    m.thread("guest", (guest_write, kvm))
    m.thread("kvm", (tdp_mmu_write_protect, kvm))

    def lost(end: End) -> bool:
        dirty = end["kvm.spte"] & DIRTY or end.result("kvm")
        return bool(end.result("guest")) and not dirty

    m.never("dirty-lost", lost, "The guest has written the page, and nobody knows.")


SCENARIO = Scenario("write-protect", guest_and_kvm)
PLAIN = (Split("tdp_mmu_write_protect:xchg"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("xchg()", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("a read and a write", SCENARIO, PLAIN),)),
]
