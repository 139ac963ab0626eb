"""The VM as the flat architecture sees it, and its entries.

An entry is one word: the frame from bit 3 up, below it written-to-or-may-be, accessed,
present.
"""

from __future__ import annotations

from mkold.kvm import types
from mkold.lang import Array, Ptr, Struct, kernel, parameter, u64

# Guest pages that a table has entries for.
FLAT_PAGES = parameter("FLAT_PAGES", 1 << 12)

PRESENT = 1
ACCESSED = 2
WRITE = 4
PFN_SHIFT = 3


class KvmArch(Struct):
    """The table, which lives as long as the VM."""

    table: Ptr[u64]
    pad: Array[u64, 7]


class Kvm(types.Kvm):
    """``struct kvm``."""

    arch: KvmArch


@kernel
def flat_entry(kvm: Ptr[Kvm], gfn: u64) -> Ptr[u64]:
    """The entry of ``gfn``."""
    return kvm.arch.table + gfn


@kernel
def flat_young(entry: u64) -> u64:
    """Whether the page is mapped and was used."""
    return entry & (PRESENT | ACCESSED) == PRESENT | ACCESSED
