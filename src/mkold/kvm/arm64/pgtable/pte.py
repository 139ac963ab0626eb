"""Bits of a stage-2 entry.

======  ==================  ==========================================================
bit     mask                name
======  ==================  ==========================================================
0       1                   ``KVM_PTE_VALID``
1       2                   ``KVM_PTE_TYPE``: table (above level 3) or page (at 3)
5:2                         memory attributes
7, 6    0x80, 0x40          ``S2AP_W``, ``S2AP_R``
10      0x400               ``S2_AF``; of an entry that is not valid: LOCKED
47..                        address, from ``STAGE2_PAGE_SHIFT`` up; of 64K pages its
                            bits 51:48 are at 15:12
58:55                       free for software
======  ==================  ==========================================================

**An entry that somebody is changing is not valid and has bit 10**, which is where valid ones
have the accessed bit: whoever looks at the accessed bit looks at the valid bit too, and whoever
clears it must know that the entry is still what it read.

A table entry holds a word address where hardware has a frame number; tables need no alignment.

Sources: arch/arm64/kvm/hyp/pgtable.c, arch/arm64/include/asm/kvm_pgtable.h.
"""

from __future__ import annotations

from mkold.kvm.arm64.pgtable.geometry import KVM_PGTABLE_LAST_LEVEL, STAGE2_PAGE_SHIFT
from mkold.lang import Ptr, cast, kernel, u64

KVM_PTE_VALID = 1
KVM_PTE_TYPE = 2
MEMATTR_NORMAL = 0xF << 2
S2AP_R = 1 << 6
S2AP_W = 1 << 7
S2_SH_IS = 3 << 8
S2_AF = 1 << 10
KVM_INVALID_PTE_LOCKED = 1 << 10
KVM_PTE_LEAF_ATTR_HI_SW = 0xF << 55
KVM_PTE_LEAF_ATTR_HI_S2_XN = 3 << 53
KVM_PTE_LEAF_ATTR_S2_PERMS = S2AP_R | S2AP_W | KVM_PTE_LEAF_ATTR_HI_S2_XN

KVM_PTE_ADDR_MASK = (1 << 48) - (1 << STAGE2_PAGE_SHIFT)
KVM_PTE_ADDR_51_48 = 0xF << 12


@kernel
def kvm_phys_to_pte(pfn: u64) -> u64:
    """The address bits of frame ``pfn``."""
    pte = (pfn << STAGE2_PAGE_SHIFT) & KVM_PTE_ADDR_MASK
    if STAGE2_PAGE_SHIFT == 16:
        pte |= (pfn >> 20) & KVM_PTE_ADDR_51_48
    return pte


@kernel
def kvm_pte_to_pfn(pte: u64) -> u64:
    """The frame in the address bits of ``pte`` (the first one, of a block)."""
    pfn = (pte & KVM_PTE_ADDR_MASK) >> STAGE2_PAGE_SHIFT
    if STAGE2_PAGE_SHIFT == 16:
        pfn |= (pte & KVM_PTE_ADDR_51_48) << 20
    return pfn


@kernel
def kvm_pte_valid(pte: u64) -> u64:
    """Whether ``pte`` maps or points to something."""
    return pte & KVM_PTE_VALID


@kernel
def kvm_pte_table(pte: u64, level: u64) -> u64:
    """Whether ``pte`` points to a table."""
    if level == KVM_PGTABLE_LAST_LEVEL:
        return 0
    return (pte & (KVM_PTE_VALID | KVM_PTE_TYPE)) == (KVM_PTE_VALID | KVM_PTE_TYPE)


@kernel
def stage2_pte_young(pte: u64) -> u64:
    """Whether ``pte`` is a leaf that was accessed; a locked entry is none."""
    return (pte & (KVM_PTE_VALID | S2_AF)) == (KVM_PTE_VALID | S2_AF)


@kernel
def stage2_pte_is_locked(pte: u64) -> u64:
    """Whether somebody is changing the entry."""
    return not kvm_pte_valid(pte) and (pte & KVM_INVALID_PTE_LOCKED) != 0


@kernel
def stage2_pte_is_counted(pte: u64) -> u64:
    """Whether the entry has a reference to its table: all but empty ones do, and a locked one's
    is given back by who locks it."""
    return pte != 0


@kernel
def kvm_init_table_pte(table: Ptr[u64]) -> u64:
    """The entry that points to ``table``."""
    return kvm_phys_to_pte(cast(u64, table)) | KVM_PTE_TYPE | KVM_PTE_VALID


@kernel
def kvm_pte_follow(pte: u64) -> Ptr[u64]:
    """The table that ``pte`` points to."""
    return cast(Ptr[u64], kvm_pte_to_pfn(pte))


@kernel
def kvm_init_valid_leaf_pte(pfn: u64, attr: u64, level: u64) -> u64:
    """A leaf at ``level`` that maps ``pfn``."""
    kind = KVM_PTE_TYPE if level == KVM_PGTABLE_LAST_LEVEL else 0
    return kvm_phys_to_pte(pfn) | attr | kind | KVM_PTE_VALID


@kernel
def stage2_set_prot_attr(writable: u64) -> u64:
    """Attributes of a new leaf: readable, executable, young."""
    return MEMATTR_NORMAL | S2_SH_IS | S2_AF | S2AP_R | (S2AP_W if writable else 0)
