"""How large a mapping of the host is: what bounds a leaf of the guest's tables.

Source: arch/x86/kvm/mmu/mmu.c (host_pfn_mapping_level); the other architectures look at the
process's table likewise (powerpc: find_kvm_host_pte, arm64: get_user_mapping_size).
"""

from __future__ import annotations

from mkold.lang import READ_ONCE, Ptr, kernel, u64
from mkold.mm.mm_types import Mm
from mkold.mm.pgtable import pmd_offset, pmd_trans_huge


@kernel
def host_pfn_mapping_level(mm: Ptr[Mm], hva: u64) -> u64:
    """Levels above a base page at which the process maps ``hva``: 1 by a huge entry, else 0.

    Ordering
    --------
    Call with ``mmu_lock`` held, after the retry counter was found unchanged: then no change of
    the process's table is under way there.
    """
    return pmd_trans_huge(READ_ONCE(pmd_offset(mm, hva).value)) != 0
