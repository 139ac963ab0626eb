"""Entries of the page tables that KVM makes on x86, and what their bits say.

One entry is one word:

=======  =======  ==================================================================
EPT      NPT      what it is
=======  =======  ==================================================================
0, 1, 2  0, 1, 2  read, write, execute (NPT: present, write, user)
7        7        a large leaf, where it is no base page's
8, 9     5, 6     accessed, dirty
11       11       present to KVM, whatever the hardware thinks
51:12    51:12    frame of a leaf; of others the next table
53:52    53:52    0 accessed and dirty bits are the hardware's; 1 they are not (A/D-disabled)
56, 54   -        execute and read of an access-tracked entry
57, 58   9, 10    the host lets write; KVM's MMU lets write, if only after a fault
63       63       set in what is not present (since 6.10)
=======  =======  ==================================================================

Where the hardware has no accessed bit, an entry is *access-tracked* to age it: read and
execute move to saved bits, so the next access faults, which puts them back; W goes for good
and comes back by a write's fault, which bit 58 allows.

A table's entry holds the word address of the next table from bit 12 up (hardware: its byte
address in the same bits).

``LINUX_VERSION`` is the kernel's, as 601 for 6.1; 604 stands for the tree that the series'
second version was made for. Levels count as the kernel counts them: 1 a base page, 2 what a
table of those covers, up to the root's.

Sources: arch/x86/kvm/mmu/spte.{c,h}, arch/x86/include/asm/vmx.h, Linux 6.1, 6.12 and 6.18;
commits 7971801b5618 and 3835819fb1b3 (the accessed bit is kept where the hardware has none),
61d65f2dc766 (``spte_needs_atomic_update``).
Known limits: memory types, no-execute and MMIO entries are left out.
"""

from __future__ import annotations

from mkold.kvm.x86.asm.kvm_host import KvmMmuPage, sp_spt
from mkold.lang import Ptr, cast, kernel, parameter, u64

LINUX_VERSION = parameter("LINUX_VERSION", 615)
EPT = parameter("EPT", 1)  # 0: NPT
KVM_AD_ENABLED = parameter("KVM_AD_ENABLED", 1)  # the hardware sets accessed and dirty bits

PT_PRESENT_MASK = 1 << 0
PT_WRITABLE_MASK = 1 << 1
PT_EXEC_MASK = 1 << 2
PT_ACCESS_MASK = PT_PRESENT_MASK | PT_WRITABLE_MASK | PT_EXEC_MASK
PT_PAGE_SIZE_MASK = 1 << 7
SHADOW_ACCESSED_MASK = 0x20 << (3 * EPT)
SHADOW_DIRTY_MASK = 0x40 << (3 * EPT)
SPTE_MMU_PRESENT_MASK = 1 << 11
SPTE_BASE_SHIFT = 12
SPTE_BASE_ADDR_MASK = (1 << 52) - (1 << SPTE_BASE_SHIFT)
SPTE_TDP_AD_MASK = 3 << 52
SPTE_TDP_AD_DISABLED = 1 << 52
SPTE_TDP_AD_WRPROT_ONLY = 2 << 52
SHADOW_ACC_TRACK_SAVED_BITS_MASK = PT_PRESENT_MASK | PT_EXEC_MASK
SHADOW_ACC_TRACK_SAVED_BITS_SHIFT = 54
SHADOW_HOST_WRITABLE_MASK = 1 << (9 + 48 * EPT)
SHADOW_MMU_WRITABLE_MASK = 1 << (10 + 48 * EPT)

# What is not present, and what stands in an entry that somebody else is changing.
NONPRESENT_BIT = parameter("SHADOW_NONPRESENT_BIT", 1)
SHADOW_NONPRESENT_VALUE = NONPRESENT_BIT << 63
FROZEN_BITS = parameter("FROZEN_BITS", 0x5A0)
FROZEN_SPTE = SHADOW_NONPRESENT_VALUE | FROZEN_BITS

SPTE_LEVEL_BITS = parameter("SPTE_LEVEL_BITS", 9)
SPTE_ENT_PER_PAGE = 1 << SPTE_LEVEL_BITS
ROOT_LEVEL = parameter("PT64_ROOT_LEVEL", 4)
PG_LEVEL_4K = 1
PG_LEVEL_2M = 2
PG_LEVEL_1G = 3


@kernel
def level_shift(level: u64) -> u64:
    """log2 of the base pages that one entry at ``level`` covers."""
    return (level - 1) * SPTE_LEVEL_BITS


@kernel
def KVM_PAGES_PER_HPAGE(level: u64) -> u64:
    """Base pages that one entry at ``level`` covers."""
    return 1 << level_shift(level)


@kernel
def spte_index(gfn: u64, level: u64) -> u64:
    """Which entry of its table at ``level`` translates ``gfn``."""
    return (gfn >> level_shift(level)) & (SPTE_ENT_PER_PAGE - 1)


@kernel
def is_shadow_present_pte(spte: u64) -> bool:
    """Whether it maps or points to something, to KVM."""
    return (spte & SPTE_MMU_PRESENT_MASK) != 0


@kernel
def is_large_pte(spte: u64) -> bool:
    """Whether an entry above the base pages is a leaf."""
    return (spte & PT_PAGE_SIZE_MASK) != 0


@kernel
def is_last_spte(spte: u64, level: u64) -> bool:
    """Whether a present entry of ``level`` is a leaf."""
    return level == PG_LEVEL_4K or is_large_pte(spte)


@kernel
def is_frozen_spte(spte: u64) -> bool:
    """Whether somebody else is changing the entry, or its table is gone for good."""
    return spte == FROZEN_SPTE


@kernel
def is_writable_pte(spte: u64) -> bool:
    """Whether the hardware lets write."""
    return (spte & PT_WRITABLE_MASK) != 0


@kernel
def is_mmu_writable_spte(spte: u64) -> bool:
    """Whether W may be set without asking anybody."""
    return (spte & SHADOW_MMU_WRITABLE_MASK) != 0


@kernel
def spte_ad_enabled(spte: u64) -> bool:
    """Whether the hardware sets this entry's accessed and dirty bits."""
    return (spte & SPTE_TDP_AD_MASK) != SPTE_TDP_AD_DISABLED


@kernel
def spte_ad_need_write_protect(spte: u64) -> bool:
    """Whether writes to the page are logged by write protection, not by the dirty bit."""
    return (spte & SPTE_TDP_AD_MASK) != 0


@kernel
def is_access_track_spte(spte: u64) -> bool:
    """Whether the entry was made to fault at the next access."""
    return not spte_ad_enabled(spte) and (spte & PT_ACCESS_MASK) == 0


@kernel
def is_accessed_spte(spte: u64) -> bool:
    """Whether the page of a present leaf was used."""
    if LINUX_VERSION < 613 and not spte_ad_enabled(spte):
        return not is_access_track_spte(spte)
    return (spte & SHADOW_ACCESSED_MASK) != 0


@kernel
def is_dirty_spte(spte: u64) -> bool:
    """Whether the page of a present leaf may have been written to."""
    if spte_ad_enabled(spte):
        return (spte & SHADOW_DIRTY_MASK) != 0
    return is_writable_pte(spte)


@kernel
def spte_needs_atomic_update(spte: u64) -> bool:
    """Whether a present leaf may be changed by hardware, a fast page fault or (since 6.15)
    aging, so that what holds ``mmu_lock`` for writing has to change it atomically."""
    if not is_writable_pte(spte) and is_mmu_writable_spte(spte):
        return True
    if LINUX_VERSION < 615:
        if not spte_ad_enabled(spte):
            return is_access_track_spte(spte)
        if (spte & SHADOW_ACCESSED_MASK) == 0:
            return True
    elif not spte_ad_enabled(spte):
        return True
    return is_writable_pte(spte) and (spte & SHADOW_DIRTY_MASK) == 0


@kernel
def mark_spte_for_access_track(spte: u64) -> u64:
    """A present leaf as it is when it is old."""
    if spte_ad_enabled(spte):
        return spte & ~SHADOW_ACCESSED_MASK
    if is_access_track_spte(spte):
        return spte
    saved = (spte & SHADOW_ACC_TRACK_SAVED_BITS_MASK) << SHADOW_ACC_TRACK_SAVED_BITS_SHIFT
    old = (spte & ~PT_ACCESS_MASK) | saved
    if LINUX_VERSION >= 613:
        old &= ~SHADOW_ACCESSED_MASK
    return old


@kernel
def restore_acc_track_spte(spte: u64) -> u64:
    """An access-tracked leaf as it is after an access; never writable."""
    saved = (spte >> SHADOW_ACC_TRACK_SAVED_BITS_SHIFT) & SHADOW_ACC_TRACK_SAVED_BITS_MASK
    kept = spte & ~(SHADOW_ACC_TRACK_SAVED_BITS_MASK << SHADOW_ACC_TRACK_SAVED_BITS_SHIFT)
    if LINUX_VERSION >= 613:
        kept |= SHADOW_ACCESSED_MASK
    return (kept & ~PT_ACCESS_MASK) | saved


@kernel
def spte_to_pfn(spte: u64) -> u64:
    """The frame that a leaf maps (the first one, for a large leaf)."""
    return (spte & SPTE_BASE_ADDR_MASK) >> SPTE_BASE_SHIFT


@kernel
def spte_to_child_pt(spte: u64) -> Ptr[u64]:
    """The table that an entry points to which is no leaf."""
    return cast(Ptr[u64], (spte & SPTE_BASE_ADDR_MASK) >> SPTE_BASE_SHIFT)


@kernel
def make_nonleaf_spte(sp: Ptr[KvmMmuPage]) -> u64:
    """The entry that points to the table of ``sp``."""
    spte = SPTE_MMU_PRESENT_MASK | PT_ACCESS_MASK
    spte |= cast(u64, sp_spt(sp)) << SPTE_BASE_SHIFT
    if sp.ad_disabled:
        return spte | SPTE_TDP_AD_DISABLED
    return spte | SHADOW_ACCESSED_MASK


@kernel
def make_leaf_spte(ad_disabled: u64, pfn: u64, level: u64, writable: u64) -> u64:
    """A leaf for a page that is being used: young, and where it may be written to, dirty."""
    spte = SPTE_MMU_PRESENT_MASK | PT_PRESENT_MASK | PT_EXEC_MASK | (pfn << SPTE_BASE_SHIFT)
    if level > PG_LEVEL_4K:
        spte |= PT_PAGE_SIZE_MASK
    if ad_disabled:
        spte |= SPTE_TDP_AD_DISABLED
    if LINUX_VERSION >= 613 or not ad_disabled:
        spte |= SHADOW_ACCESSED_MASK
    if writable:
        spte |= PT_WRITABLE_MASK | SHADOW_HOST_WRITABLE_MASK | SHADOW_MMU_WRITABLE_MASK
        if LINUX_VERSION >= 613 or not ad_disabled:
            spte |= SHADOW_DIRTY_MASK
    return spte
