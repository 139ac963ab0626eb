"""Caches of objects of one size, with a magazine of free ones for each CPU.

Rules
-----
* An object starts on a cache line. A free one is all POISON, a new one too; so use after
  free and use before initialisation read POISON.
* ``SLAB_TYPESAFE_BY_RCU``: a freed object may be handed out again at once, but its memory
  stays an object of this cache for ever and is never poisoned: it starts as zeros, and a
  reader under RCU that still holds it must look whether it is the object it wanted.
* A link word behind each object, not in it, chains the free ones of the shared list.
* A magazine belongs to its CPU alone; the cache's lock is taken once for half a magazine.

Sources: mm/slub.c, Documentation/RCU/rculist_nulls.rst; Bonwick and Adams, "Magazines and
Vmem", USENIX 2001. Known limits: memory is never given back to other uses.
"""

from __future__ import annotations

from mkold.ir.boot import MAX_CPUS
from mkold.lang import (
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    addr,
    cast,
    kernel,
    parameter,
    poison,
    smp_processor_id,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
    unpoison,
)
from mkold.mm.page_alloc import memblock_alloc
from mkold.sync.rcu import RCU_QHIMARK, rcu_do_batch, rcu_pending

SLAB_TYPESAFE_BY_RCU = 1

MAGAZINE_ROUNDS = 14
# Objects made at a time.
SLAB_OBJECTS = parameter("SLAB_OBJECTS", 16)


class Magazine(Struct):
    """Free objects of one CPU."""

    n: u64
    pad: u64
    rounds: Array[u64, 14]


class KmemCache(Struct):
    """``struct kmem_cache``."""

    lock: spinlock_t
    head: u64  # shared list of free objects
    nr_objects: u64  # made so far
    pad: Array[u64, 5]
    n_words: u64
    stride: u64
    flags: u64
    pad2: Array[u64, 5]
    magazines: Array[Magazine, MAX_CPUS]


@kernel
def kmem_cache_init(cache: Ptr[KmemCache], n_words: u64, flags: u64) -> None:
    """Set up a cache of objects of ``n_words`` words, in zeroed memory."""
    cache.n_words = n_words
    cache.stride = (n_words + 8) & ~7  # room for the link, then up to a cache line
    cache.flags = flags


@kernel
def object_link(cache: Ptr[KmemCache], object: u64) -> Ptr[u64]:
    """The word that chains a free object."""
    return cast(Ptr[u64], object + cache.n_words)


@kernel
def cache_grow(cache: Ptr[KmemCache]) -> None:
    """Add new objects to the shared list, if there is memory. The lock is held."""
    start = memblock_alloc(cache.stride * SLAB_OBJECTS)
    if start == 0:
        return
    for i in range(SLAB_OBJECTS):
        object = start + i * cache.stride
        if cache.flags & SLAB_TYPESAFE_BY_RCU == 0:
            poison(cast(Ptr[u64], object).value, cache.n_words)
        object_link(cache, object).value = cache.head
        cache.head = object
    WRITE_ONCE(cache.nr_objects, cache.nr_objects + SLAB_OBJECTS)


@kernel
def magazine_refill(cache: Ptr[KmemCache], magazine: Ptr[Magazine]) -> None:
    """Half a magazine from the shared list."""
    spin_lock(cache.lock)
    if cache.head == 0:
        cache_grow(cache)
    while cache.head != 0 and magazine.n < MAGAZINE_ROUNDS // 2:
        object = cache.head
        cache.head = object_link(cache, object).value
        magazine.rounds[magazine.n] = object
        WRITE_ONCE(magazine.n, magazine.n + 1)
    spin_unlock(cache.lock)


@kernel
def magazine_flush(cache: Ptr[KmemCache], magazine: Ptr[Magazine]) -> None:
    """Half a magazine to the shared list."""
    spin_lock(cache.lock)
    while magazine.n > MAGAZINE_ROUNDS // 2:
        WRITE_ONCE(magazine.n, magazine.n - 1)
        object = magazine.rounds[magazine.n]
        object_link(cache, object).value = cache.head
        cache.head = object
    spin_unlock(cache.lock)


@kernel
def kmem_cache_alloc(cache: Ptr[KmemCache]) -> u64:
    """The address of an object, or 0 if memory is used up."""
    magazine = addr(cache.magazines[smp_processor_id()])
    if magazine.n == 0:
        magazine_refill(cache, magazine)
        if magazine.n == 0:
            return 0
    WRITE_ONCE(magazine.n, magazine.n - 1)
    object = magazine.rounds[magazine.n]
    if cache.flags & SLAB_TYPESAFE_BY_RCU == 0:
        unpoison(cast(Ptr[u64], object).value, cache.n_words)
    return object


@kernel
def kmem_cache_alloc_sleeping(cache: Ptr[KmemCache]) -> u64:
    """As ``kmem_cache_alloc``, with ``GFP_KERNEL``: where memory is used up, what this CPU gave
    to ``call_rcu`` is freed first. Call it with no lock held and outside read-side critical
    sections."""
    object = kmem_cache_alloc(cache)
    while RCU_QHIMARK and object == 0 and rcu_pending() != 0:
        rcu_do_batch()
        object = kmem_cache_alloc(cache)
    return object


@kernel
def kmem_cache_free(cache: Ptr[KmemCache], object: u64) -> None:
    """Give an object back to its cache, on any CPU."""
    if cache.flags & SLAB_TYPESAFE_BY_RCU == 0:
        poison(cast(Ptr[u64], object).value, cache.n_words)
    magazine = addr(cache.magazines[smp_processor_id()])
    if magazine.n == MAGAZINE_ROUNDS:
        magazine_flush(cache, magazine)
    magazine.rounds[magazine.n] = object
    WRITE_ONCE(magazine.n, magazine.n + 1)


@kernel
def kmem_cache_nr_free(cache: Ptr[KmemCache]) -> u64:
    """How many objects are free; exact while nobody allocates."""
    n = 0
    object = cache.head
    while object != 0:
        n += 1
        object = object_link(cache, object).value
    for cpu in range(MAX_CPUS):
        n += cache.magazines[cpu].n
    return n
