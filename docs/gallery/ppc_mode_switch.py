"""KVM on powerpc: the switch from radix to hash frees the radix tree under an MMU notifier.

``kvm_unmap_hva_range`` looks at the mode once, with ``mmu_lock`` held, and then walks the
tree. The tree is one word.

    mkold check docs/gallery/ppc_mode_switch.py --explain
"""

from mkold.check import Case, Claim, Drop, Exchange, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    poison,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = (
    "commit 234ff0b729ad "
    '("KVM: PPC: Book3S HV: Fix race between kvm_unmap_hva_range and MMU mode switch")'
)
SENTENCE = "A notifier that found the VM in radix mode walks a tree that is there."


class Kvm(Struct):
    mmu_lock: spinlock_t
    radix: u64
    pgtable: Ptr[u64]


@kernel
def kvm_unmap_hva_range(kvm: Ptr[Kvm]) -> u64:
    pte = 0
    spin_lock(kvm.mmu_lock)
    if READ_ONCE(kvm.radix):
        pgd = READ_ONCE(kvm.pgtable)
        pte = READ_ONCE(pgd[0])
    spin_unlock(kvm.mmu_lock)
    return pte


@kernel
def kvmppc_switch_mmu_to_hpt(kvm: Ptr[Kvm]) -> None:
    pgd = READ_ONCE(kvm.pgtable)
    spin_lock(kvm.mmu_lock)
    WRITE_ONCE(kvm.radix, 0)
    spin_unlock(kvm.mmu_lock)
    poison(pgd.value, 1)
    WRITE_ONCE(kvm.pgtable, NULL)


def notifier_and_switch(m: Setup) -> None:
    kvm, pgd = m.new(Kvm, "kvm"), m.words(1, "pgd[0]", value=0x77)
    m.poke(kvm + Kvm.offset("radix"), 1)
    m.poke(kvm + Kvm.offset("pgtable"), pgd)
    m.thread("notifier", (kvm_unmap_hva_range, kvm))
    m.thread("switch", (kvmppc_switch_mmu_to_hpt, kvm))


SCENARIO = Scenario("mode-switch", notifier_and_switch)
# As it was: the tree is freed first, then the mode changes, and no lock is taken.
OLD = (
    Drop("kvmppc_switch_mmu_to_hpt:spin_lock"),
    Drop("kvmppc_switch_mmu_to_hpt:spin_unlock"),
    Exchange("kvmppc_switch_mmu_to_hpt:WRITE_ONCE[0]", "kvmppc_switch_mmu_to_hpt:poison"),
)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("the mode under mmu_lock, then free", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("free, then the mode", SCENARIO, OLD),)),
]
