"""The reverse map of the shadow MMU: a word for a page, and the SPTEs that map the page.

======  ====================  =============================================================
bits    mask                  name
======  ====================  =============================================================
0       ``KVM_RMAP_MANY``     the address is that of a ``PteListDesc``, else of the one SPTE
1       ``KVM_RMAP_LOCKED``   somebody is at the chain
63:2                          the address, in words (in Linux in bytes, its low bits being 0)
======  ====================  =============================================================

Rules
-----
* Only the head of a chain of descs may be partial; what is added goes there, and what is
  removed gives its place to the head's last. A walk ends at the first entry that is 0.
* Who changes the chain holds ``mmu_lock`` for writing *and* the bit: writers are kept apart by
  ``mmu_lock``, writers and lockless readers by the bit. An empty word has no chain, so nobody
  locks it: the writer of the first entry publishes it by the release of the unlock.
* A reader takes the bit too, and puts the word back as it was. Readers exclude each other: it
  is no reader-writer lock.
* The bit protects the chain. SPTEs change under it at any time. A page table is freed only
  after its SPTEs have left their chains, so what is listed may be touched under the bit.
* Whoever holds ``mmu_lock`` for writing may walk without the bit.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_rmap_lock``, ``pte_list_add``, ``pte_list_remove``,
``kvm_zap_all_rmap_sptes``); 4834eaded91e ("Add infrastructure to allow walking rmaps outside
of mmu_lock"), bb6c7749ccee ("Add support for lockless walks of rmap SPTEs"), in 6.15.
Known limits: the kernel keeps preemption off while the bit is held.
"""

from __future__ import annotations

from mkold.kvm.memory_cache import KvmMmuMemoryCache, kvm_mmu_memory_cache_alloc
from mkold.lang import (
    BUG_ON,
    NULL,
    READ_ONCE,
    VAL,
    WARN_ON_ONCE,
    Array,
    Ptr,
    Struct,
    cast,
    kernel,
    parameter,
    smp_cond_load_relaxed,
    smp_store_release,
    try_cmpxchg_acquire,
    u32,
    u64,
)
from mkold.mm.slab import KmemCache, kmem_cache_free

KVM_RMAP_MANY = 1
KVM_RMAP_LOCKED = 2
KVM_RMAP_SHIFT = 2

PTE_LIST_MAX = 14
# Entries of a desc that are used.
PTE_LIST_EXT = parameter("PTE_LIST_EXT", PTE_LIST_MAX)

# 0: a chain that is not what it should be is warned of, and left as it is.
CONFIG_BUG_ON_DATA_CORRUPTION = parameter("CONFIG_BUG_ON_DATA_CORRUPTION", 1)


class PteListDesc(Struct):
    """``struct pte_list_desc``; ``tail_count`` entries are in the descs behind it."""

    more: Ptr[PteListDesc]
    spte_count: u32
    tail_count: u32
    sptes: Array[u64, PTE_LIST_MAX]


@kernel
def rmap_of_spte(sptep: Ptr[u64]) -> u64:
    """The word of a page that one SPTE maps."""
    return cast(u64, sptep) << KVM_RMAP_SHIFT


@kernel
def rmap_of_desc(desc: Ptr[PteListDesc]) -> u64:
    """The word of a page whose chain begins with ``desc``."""
    return (cast(u64, desc) << KVM_RMAP_SHIFT) | KVM_RMAP_MANY


@kernel
def rmap_sptep(val: u64) -> Ptr[u64]:
    """The one SPTE, of a word without MANY."""
    return cast(Ptr[u64], val >> KVM_RMAP_SHIFT)


@kernel
def rmap_desc(val: u64) -> Ptr[PteListDesc]:
    """The first desc, of a word with MANY."""
    return cast(Ptr[PteListDesc], val >> KVM_RMAP_SHIFT)


# -- the lock ----------------------------------------------------------------------------------


@kernel
def __kvm_rmap_lock(rmap_head: Ptr[u64]) -> u64:
    """Take the bit, unless the page has no SPTE; the word as it was.

    Ordering
    --------
    An acquire, if the word is not 0.
    """
    while True:
        old = smp_cond_load_relaxed(rmap_head.value, not VAL & KVM_RMAP_LOCKED)
        if old == 0:
            return 0
        ok, _seen = try_cmpxchg_acquire(rmap_head.value, old, old | KVM_RMAP_LOCKED)
        if ok:
            return old


@kernel
def kvm_rmap_lock(rmap_head: Ptr[u64]) -> u64:
    """As ``__kvm_rmap_lock``, for who changes the chain: ``mmu_lock`` is held for writing."""
    return __kvm_rmap_lock(rmap_head)


@kernel
def kvm_rmap_unlock(rmap_head: Ptr[u64], val: u64) -> None:
    """The word is ``val`` from here on, and free: a release."""
    smp_store_release(rmap_head.value, val)


@kernel
def kvm_rmap_lock_readonly(rmap_head: Ptr[u64]) -> u64:
    """As ``__kvm_rmap_lock``, for who only reads the chain and does not hold ``mmu_lock``."""
    return __kvm_rmap_lock(rmap_head)


@kernel
def kvm_rmap_unlock_readonly(rmap_head: Ptr[u64], val: u64) -> None:
    """Let go, if the word was not empty: nobody has changed it meanwhile."""
    if val != 0:
        smp_store_release(rmap_head.value, val)


@kernel
def kvm_rmap_get(rmap_head: Ptr[u64]) -> u64:
    """The word without the bit, for who holds ``mmu_lock`` for writing."""
    return READ_ONCE(rmap_head.value) & ~KVM_RMAP_LOCKED


# -- walking -----------------------------------------------------------------------------------


@kernel
def rmap_next(desc: Ptr[PteListDesc], pos: u64) -> tuple[Ptr[PteListDesc], u64]:
    """Where a walk goes on after entry ``pos`` of ``desc``: a NULL desc at the end."""
    pos += 1
    if pos < PTE_LIST_EXT and desc.sptes[pos] != 0:
        return desc, pos
    return desc.more, 0


@kernel
def pte_list_count(rmap_head: Ptr[u64]) -> u64:
    """How many SPTEs map the page."""
    val = kvm_rmap_get(rmap_head)
    if not val & KVM_RMAP_MANY:
        return val != 0
    desc = rmap_desc(val)
    return desc.tail_count + desc.spte_count


# -- changing ----------------------------------------------------------------------------------


@kernel
def pte_list_desc_alloc(
    cache: Ptr[KvmMmuMemoryCache], more: Ptr[PteListDesc]
) -> Ptr[PteListDesc]:
    """An empty desc in front of ``more``."""
    desc = cast(Ptr[PteListDesc], kvm_mmu_memory_cache_alloc(cache))
    desc.more = more
    desc.spte_count = 0
    desc.tail_count = 0
    if more != NULL:
        desc.tail_count = more.tail_count + more.spte_count
    for i in range(PTE_LIST_EXT):
        desc.sptes[i] = 0
    return desc


@kernel
def pte_list_desc_push(desc: Ptr[PteListDesc], sptep: Ptr[u64]) -> None:
    """``sptep`` is the last entry of ``desc``, which has room."""
    n: u64 = desc.spte_count
    desc.sptes[n] = sptep
    desc.spte_count = cast(u32, n + 1)


@kernel
def pte_list_add(cache: Ptr[KvmMmuMemoryCache], sptep: Ptr[u64], rmap_head: Ptr[u64]) -> u64:
    """``mmu_lock`` is held for writing: ``sptep`` maps the page; how many SPTEs did before.

    ``cache`` has a desc, should one be needed.
    """
    count: u64 = 0
    val = kvm_rmap_lock(rmap_head)
    if val == 0:
        val = rmap_of_spte(sptep)
    elif not val & KVM_RMAP_MANY:
        desc = pte_list_desc_alloc(cache, NULL)
        pte_list_desc_push(desc, rmap_sptep(val))
        pte_list_desc_push(desc, sptep)
        val = rmap_of_desc(desc)
        count = 1
    else:
        desc = rmap_desc(val)
        count = desc.tail_count + desc.spte_count
        if desc.spte_count == PTE_LIST_EXT:
            desc = pte_list_desc_alloc(cache, desc)
            val = rmap_of_desc(desc)
        pte_list_desc_push(desc, sptep)
    kvm_rmap_unlock(rmap_head, val)
    return count


@kernel
def pte_list_desc_remove_entry(
    desc_cache: Ptr[KmemCache], val: u64, desc: Ptr[PteListDesc], i: u64
) -> u64:
    """Locked: entry ``i`` of ``desc`` leaves the chain of ``val``; the word then."""
    head = rmap_desc(val)
    last: u64 = head.spte_count - 1
    desc.sptes[i] = head.sptes[last]
    head.sptes[last] = 0
    head.spte_count = cast(u32, last)
    if last != 0:
        return val
    more = head.more
    kmem_cache_free(desc_cache, cast(u64, head))
    if more == NULL:
        return 0
    return rmap_of_desc(more)


@kernel
def pte_list_find(val: u64, sptep: Ptr[u64]) -> tuple[Ptr[PteListDesc], u64]:
    """Locked: where ``sptep`` is in the chain of ``val``; a NULL desc if it is not."""
    desc = rmap_desc(val)
    i: u64 = 0
    while desc != NULL and desc.sptes[i] != cast(u64, sptep):
        desc, i = rmap_next(desc, i)
    return desc, i


@kernel
def kvm_bug_on_data_corruption(condition: bool) -> bool:
    """``KVM_BUG_ON_DATA_CORRUPTION``: the reverse map is not what it should be."""
    if CONFIG_BUG_ON_DATA_CORRUPTION:
        BUG_ON(condition)
    WARN_ON_ONCE(condition)
    return condition


@kernel
def pte_list_remove(desc_cache: Ptr[KmemCache], sptep: Ptr[u64], rmap_head: Ptr[u64]) -> None:
    """``mmu_lock`` is held for writing: ``sptep``, which is not present any more, maps the page
    no more."""
    val = kvm_rmap_lock(rmap_head)
    if kvm_bug_on_data_corruption(val == 0):
        return
    if not val & KVM_RMAP_MANY:
        if not kvm_bug_on_data_corruption(rmap_sptep(val) != sptep):
            val = 0
    else:
        desc, i = pte_list_find(val, sptep)
        if not kvm_bug_on_data_corruption(desc == NULL):
            val = pte_list_desc_remove_entry(desc_cache, val, desc, i)
    kvm_rmap_unlock(rmap_head, val)
