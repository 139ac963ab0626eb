"""A fault lets go of the frame that it asked the host for.

Since Linux 6.13 (``RELEASE_UNUSED`` 1) the page is marked as used only if it was mapped: a
fault that has to be tried again marks nothing. Before, it is marked either way, for which
``hva_to_pfn`` stands.

Source: arch/x86/kvm/mmu/mmu.c (kvm_mmu_finish_page_fault), include/linux/kvm_host.h
(kvm_release_faultin_page).
"""

from __future__ import annotations

from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.lang import Ptr, kernel, parameter, u64
from mkold.mm.rmap import pfn_folio
from mkold.mm.tiers import folio_mark_accessed

RELEASE_UNUSED = parameter("RELEASE_UNUSED", 0)


@kernel
def kvm_release_faultin_page(kvm: Ptr[Kvm], pfn: u64, unused: u64) -> None:
    """``pfn`` was mapped, unless it is ``unused``."""
    if RELEASE_UNUSED and not unused and pfn != kvm.mm.node.zero_pfn:
        folio_mark_accessed(pfn_folio(kvm.mm.node, pfn))
