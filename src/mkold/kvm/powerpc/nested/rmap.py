"""The reverse map of a page of L1: which shadow entries map it.

Each page of a memslot has one word, and an entry is one word:

======  ==============================================================================
bits    of an entry
======  ==============================================================================
63:52   L1's number of the L2 guest (never 0)
51:12   L2's page
0       ``RMAP_NESTED_IS_SINGLE_ENTRY``: only where the word is the entry itself
======  ==============================================================================

The page's word is 0, an entry, or the address of the first node of a list. A node has an entry
and ``next``, which is of the same three kinds: the entry that stood in the page's word
becomes the end of the list, in the last node's ``next``.

Rules
-----
* Changes are guarded by ``mmu_lock``. A reader holds it too, or is in an RCU read section: a
  node is published whole by one release store, and freed after a grace period.
* An entry may be stale: shadow entries are taken away without looking here. So whoever finds
  one looks up the shadow entry, and whether it still maps the page.
* A list is given up whole, never an entry of it.

``RMAP_INSERT`` says by which stores an entry gets in front: one, of a node that is filled, or
as in Linux, where the word is 0 in between and the list has no tail for a moment.

Source: arch/powerpc/include/asm/kvm_book3s_64.h (``for_each_nest_rmap_safe``),
arch/powerpc/kvm/book3s_hv_nested.c (``kvmhv_insert_nest_rmap``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import RmapNested
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    cast,
    kernel,
    parameter,
    smp_store_release,
    u64,
)

RMAP_NESTED_LPID_SHIFT = 52
RMAP_NESTED_GFN_SHIFT = 12
RMAP_NESTED_GFN_MASK = (1 << 40) - 1
RMAP_NESTED_IS_SINGLE_ENTRY = 1

INSERT_AT_ONCE = 0
INSERT_AS_LINUX = 1
RMAP_INSERT = parameter("RMAP_INSERT", INSERT_AT_ONCE)


@kernel
def nest_rmap(l1_lpid: u64, n_gfn: u64) -> u64:
    """The entry for page ``n_gfn`` of guest ``l1_lpid``."""
    return (l1_lpid << RMAP_NESTED_LPID_SHIFT) | (n_gfn << RMAP_NESTED_GFN_SHIFT)


@kernel
def nest_rmap_lpid(entry: u64) -> u64:
    """Whose entry it is."""
    return entry >> RMAP_NESTED_LPID_SHIFT


@kernel
def nest_rmap_gfn(entry: u64) -> u64:
    """Which page of L2 it names."""
    return (entry >> RMAP_NESTED_GFN_SHIFT) & RMAP_NESTED_GFN_MASK


@kernel
def nest_rmap_next(word: u64) -> tuple[u64, u64, Ptr[RmapNested]]:
    """One step along a list, from a word that is not 0.

    Returns
    -------
    entry : without its lowest bit
    word : where to go on, 0 at the end
    node : that held the entry, or NULL
    """
    if word & RMAP_NESTED_IS_SINGLE_ENTRY:
        return word & ~RMAP_NESTED_IS_SINGLE_ENTRY, 0, cast(Ptr[RmapNested], 0)
    node = cast(Ptr[RmapNested], word)
    return node.rmap, READ_ONCE(node.next), node


@kernel
def nest_rmap_has(word: u64, wanted: u64) -> u64:
    """Whether the list that ``word`` heads has the entry."""
    while word:
        entry, word, _node = nest_rmap_next(word)
        if entry == wanted:
            return 1
    return 0


@kernel
def nest_rmap_push_as_linux(rmapp: Ptr[u64], word: u64, node: Ptr[RmapNested]) -> None:
    """Put a filled node in front, by Linux's stores."""
    if word & RMAP_NESTED_IS_SINGLE_ENTRY:
        WRITE_ONCE(rmapp.value, 0)
        WRITE_ONCE(node.next, 0)
        smp_store_release(rmapp.value, cast(u64, node))
        WRITE_ONCE(node.next, word)
    else:
        WRITE_ONCE(node.next, word)
        smp_store_release(rmapp.value, cast(u64, node))


@kernel
def kvmhv_insert_nest_rmap(rmapp: Ptr[u64], entry: u64, node: Ptr[RmapNested]) -> u64:
    """Add an entry that may be there already; 1 if it took the ``node``."""
    word = READ_ONCE(rmapp.value)
    if not word:
        WRITE_ONCE(rmapp.value, entry | RMAP_NESTED_IS_SINGLE_ENTRY)
        return 0
    if nest_rmap_has(word, entry):
        return 0
    node.rmap = entry
    if RMAP_INSERT == INSERT_AS_LINUX:
        nest_rmap_push_as_linux(rmapp, word, node)
    else:
        node.next = word
        smp_store_release(rmapp.value, cast(u64, node))
    return 1
