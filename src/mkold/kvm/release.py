"""KVM lets go of a frame that it asked the host for, and tells the LRU of its use.

Up to Linux 6.12 a page is marked as used whether or not it was mapped, for which ``hva_to_pfn``
stands. Since Linux 6.13 (``RELEASE_UNUSED`` 1) only if it was: a fault that has to be tried
again marks nothing. Up to 6.12 x86 marks it once more when a young leaf goes (``ZAP_MARKS`` 1).

Source: include/linux/kvm_host.h (kvm_release_faultin_page), virt/kvm/kvm_main.c
(kvm_set_pfn_accessed, gone since 6.13).
"""

from __future__ import annotations

from mkold.kvm.types import Kvm
from mkold.lang import Ptr, kernel, parameter, u64
from mkold.mm.rmap import pfn_folio
from mkold.mm.tiers import folio_mark_accessed

RELEASE_UNUSED = parameter("RELEASE_UNUSED", 0)
ZAP_MARKS = parameter("ZAP_MARKS", 0)


@kernel
def kvm_set_pfn_accessed(kvm: Ptr[Kvm], pfn: u64) -> None:
    """The guest used ``pfn``; the zero page is not tracked."""
    if pfn != kvm.mm.node.zero_pfn:
        folio_mark_accessed(pfn_folio(kvm.mm.node, pfn))


@kernel
def kvm_release_faultin_page(kvm: Ptr[Kvm], pfn: u64, unused: u64) -> None:
    """``pfn`` was mapped, unless it is ``unused``."""
    if RELEASE_UNUSED and not unused:
        kvm_set_pfn_accessed(kvm, pfn)
