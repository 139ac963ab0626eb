"""Large areas that come and go with a VM's hash table: allocated, freed, used again.

Rules
-----
* An area that was freed is all POISON and is used again for one of the same size.
* One list for all VMs, under its lock: tables come and go with VMs and modes.

Known limits: memory never goes back to other uses, nor to areas of another size.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import kvmppc_module
from mkold.lang import (
    NULL,
    Ptr,
    addr,
    cast,
    kernel,
    poison,
    spin_lock,
    spin_unlock,
    u64,
    unpoison,
)
from mkold.mm.page_alloc import memblock_alloc

HEADER = 8  # words in front of an area: its size, and the next free one


@kernel
def take_free_area(n_words: u64) -> Ptr[u64]:
    """A freed area of that size, or NULL."""
    pool = addr(kvmppc_module().hpt_pool)
    spin_lock(pool.lock)
    link = addr(pool.head)
    found = pool.head
    while found != NULL and (found - HEADER)[0] != n_words:
        link = cast(Ptr[Ptr[u64]], found - HEADER + 1)
        found = link.value
    if found != NULL:
        link.value = cast(Ptr[u64], (found - HEADER)[1])
        unpoison(found.value, n_words)
    spin_unlock(pool.lock)
    return found


@kernel
def vzalloc(n_words: u64) -> Ptr[u64]:
    """``n_words`` words, zeroed; NULL: there is no memory."""
    area = take_free_area(n_words)
    if area == NULL:
        block = cast(Ptr[u64], memblock_alloc(n_words + HEADER))
        if block == NULL:
            return NULL
        block[0] = n_words
        area = block + HEADER
    for i in range(n_words):
        area[i] = 0
    return area


@kernel
def vfree(area: Ptr[u64]) -> None:
    """Give it back; NULL is none."""
    if area == NULL:
        return
    pool = addr(kvmppc_module().hpt_pool)
    block = area - HEADER
    poison(area.value, block[0])
    spin_lock(pool.lock)
    block[1] = pool.head
    pool.head = area
    spin_unlock(pool.lock)
