"""Generations: sequence numbers, lists, and how a folio changes generation.

Rules
-----
* ``max_seq`` is the youngest generation, ``min_seq`` the oldest; both only grow and there
  are MIN_NR_GENS to MAX_NR_GENS of them. Two are needed so that a page gets a second
  chance: the bit that its fault set is cleared by one pass, and an access shows in the
  next.
* A folio stores its generation modulo MAX_NR_GENS plus one in its flags; 0 means that it
  is on no list (isolated). The aging walk changes the number alone, with compare and
  swap; the list move is left to whoever next looks at the list's tail.
* Where the oldest generation is merged into the next, its folios go behind that one's, in
  reverse: what came to it last is evicted first.
* A folio that is used joins the youngest generation, one that is put back and was not the
  second youngest. With ``MGLRU_WORKINGSET`` 1 (Linux 7.2 is so) only one of the working set
  joins the youngest, a used one the second youngest; and one that is in the swap cache while
  it joins the third or fourth.
* Folios join by batches of a CPU. On Linux 7.2 one that comes from swap is in the swap cache
  until it is mapped: so is the last of a full batch as it joins, and one that is written,
  before which the batch is emptied. Earlier a fast device was read without the swap cache.
* Until Linux 6.13, unless ``MGLRU_KEEPS_REFS``, that a folio of the batch was used, and how
  often, is forgotten as it joins, but not that it is of the working set.
* What a locked VMA maps is on no list.
* A walk promotes what it finds young. With ``MGLRU_WORKINGSET`` 1 not at the first time: coming
  in by a fault is the first, a fault of KVM's is one too; being merged into the next
  generation makes it start anew, unless it was promoted once: then it is of the working set.
* ``nr_pages`` follows the numbers, not the lists, and may be briefly off while a walk
  has not handed in its batch.

Source: mm/vmscan.c, mm/swap.c, include/linux/mm_inline.h, Documentation/mm/multigen_lru.rst.
Known limits: one memory group, anonymous memory only. The folios of a batch are on a list at
once, where they would be when it is emptied; it keeps no frame from being freed.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    atomic_add,
    atomic_sub,
    cast,
    get_cycles,
    kernel,
    parameter,
    smp_processor_id,
    smp_store_release,
    spin_lock,
    spin_unlock,
    try_cmpxchg,
    u64,
)
from mkold.mm.large_folio import folio_nr_pages
from mkold.mm.list import init_list_head, list_add, list_add_tail, list_del, list_empty
from mkold.mm.mm_types import (
    FOLIO_ACTIVE,
    FOLIO_GEN_MASK,
    FOLIO_REFERENCED,
    FOLIO_REFS_MASK,
    FOLIO_WORKINGSET,
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MIN_NR_GENS,
    PAGEVEC_SIZE,
    Folio,
    LruGen,
    Mm,
    Node,
)
from mkold.mm.pgtable import vma_is_locked
from mkold.mm.tiers import (
    MGLRU_WORKINGSET,
    count_protected,
    folio_mark_accessed,
    reset_ctrl_pos,
    set_mask_bits,
    uses,
)

# Whether a folio keeps its uses when it joins the youngest generation (Linux 6.1 does so).
MGLRU_KEEPS_REFS = parameter("MGLRU_KEEPS_REFS", 0)
NO_GEN = (1 << 64) - 1


@kernel
def lru_gen_from_seq(seq: u64) -> u64:
    """Index of the lists of ``seq``."""
    return seq % MAX_NR_GENS


@kernel
def get_nr_gens(lrugen: Ptr[LruGen]) -> u64:
    """How many generations there are now."""
    return READ_ONCE(lrugen.max_seq) - READ_ONCE(lrugen.min_seq) + 1


@kernel
def folio_lru_gen(folio: Ptr[Folio]) -> u64:
    """The folio's generation index; NO_GEN when it is on no list."""
    return (READ_ONCE(folio.flags) & FOLIO_GEN_MASK) - 1


@kernel
def lru_gen_init(lrugen: Ptr[LruGen], mode: u64) -> None:
    """Empty generations, as many as there can be (boot; nobody else looks yet)."""
    lrugen.max_seq = MIN_NR_GENS + 1
    lrugen.min_seq = 0
    lrugen.mode = mode
    for i in range(MAX_NR_GENS):
        init_list_head(addr(lrugen.lists[i]))
        lrugen.timestamps[i] = get_cycles()


@kernel
def lru_init(node: Ptr[Node], mode: u64) -> None:
    """Set up the generations for an aging path (AGING_NONE, _LOCKED, _LOCKLESS)."""
    lru_gen_init(addr(node.lrugen), mode)


@kernel
def folio_update_gen(folio: Ptr[Folio], gen: u64) -> u64:
    """Promote from a walk; returns the old generation, NO_GEN if it was isolated.

    An isolated folio is marked referenced instead: eviction, which holds it, then keeps
    it. NO_GEN too if this was the first access only. Caller holds the page-table lock, so the
    folio can't be freed.
    """
    while True:
        old = READ_ONCE(folio.flags)
        if MGLRU_WORKINGSET and not old & (FOLIO_REFERENCED | FOLIO_WORKINGSET):
            set_mask_bits(folio, FOLIO_REFS_MASK, FOLIO_REFERENCED)
            return NO_GEN
        if not old & FOLIO_GEN_MASK:
            new = old | FOLIO_REFERENCED
        else:
            new = (old & ~(FOLIO_GEN_MASK | uses())) | (gen + 1)
            if MGLRU_WORKINGSET:
                new |= FOLIO_WORKINGSET
        ok, _seen = try_cmpxchg(folio.flags, old, new)
        if ok:
            return (old & FOLIO_GEN_MASK) - 1


@kernel
def folio_inc_gen(lrugen: Ptr[LruGen], folio: Ptr[Folio]) -> u64:
    """Move the oldest generation's folio to the next, its uses forgotten.

    Returns the generation index it has now. Caller holds ``lru_lock``.
    """
    old_gen = lru_gen_from_seq(lrugen.min_seq)
    new_gen = lru_gen_from_seq(lrugen.min_seq + 1)
    while True:
        old = READ_ONCE(folio.flags)
        gen = (old & FOLIO_GEN_MASK) - 1
        if gen != old_gen:
            return gen
        kept = old & ~(FOLIO_GEN_MASK | uses())
        ok, _seen = try_cmpxchg(folio.flags, old, kept | (new_gen + 1))
        if ok:
            atomic_sub(lrugen.nr_pages[old_gen], folio_nr_pages(folio))
            atomic_add(lrugen.nr_pages[new_gen], folio_nr_pages(folio))
            return new_gen


@kernel
def lru_gen_folio_seq(lrugen: Ptr[LruGen], flags: u64, in_swapcache: u64) -> u64:
    """Which generation a folio with ``flags`` joins."""
    workingset: u64 = 1 if flags & FOLIO_WORKINGSET else 0
    if not MGLRU_WORKINGSET:
        return lrugen.max_seq if flags & FOLIO_ACTIVE else lrugen.max_seq - 1
    behind: u64 = MIN_NR_GENS - 1
    if flags & FOLIO_ACTIVE:
        behind -= workingset
    elif in_swapcache:
        used: u64 = workingset | (flags & FOLIO_REFERENCED)
        behind = MAX_NR_GENS - 2 if used else MAX_NR_GENS - 1
    return max(lrugen.max_seq - behind, lrugen.min_seq)


@kernel
def lru_gen_add_folio(lrugen: Ptr[LruGen], folio: Ptr[Folio], in_swapcache: u64) -> None:
    """Put a folio on its list; caller holds ``lru_lock``."""
    flags = READ_ONCE(folio.flags)
    gen = lru_gen_from_seq(lru_gen_folio_seq(lrugen, flags, in_swapcache))
    mask: u64 = FOLIO_GEN_MASK | FOLIO_ACTIVE
    if flags & FOLIO_ACTIVE and not (MGLRU_WORKINGSET or MGLRU_KEEPS_REFS):
        mask |= FOLIO_REFS_MASK | FOLIO_REFERENCED
    set_mask_bits(folio, mask, gen + 1)
    atomic_add(lrugen.nr_pages[gen], folio_nr_pages(folio))
    list_add(addr(folio.lru), addr(lrugen.lists[gen]))


@kernel
def lru_add_page_tail(lrugen: Ptr[LruGen], folio: Ptr[Folio], gen: u64) -> None:
    """Put a folio that was a part of another onto that one's list; caller holds
    ``lru_lock``."""
    set_mask_bits(folio, FOLIO_GEN_MASK, gen + 1)
    atomic_add(lrugen.nr_pages[gen], folio_nr_pages(folio))
    list_add(addr(folio.lru), addr(lrugen.lists[gen]))


@kernel
def lru_gen_del_folio(lrugen: Ptr[LruGen], folio: Ptr[Folio]) -> bool:
    """Take a folio off its list; False if it is isolated. Caller holds ``lru_lock``."""
    while True:
        old = READ_ONCE(folio.flags)
        gen = (old & FOLIO_GEN_MASK) - 1
        if gen == NO_GEN:
            return False
        ok, _seen = try_cmpxchg(folio.flags, old, old & ~FOLIO_GEN_MASK)
        if ok:
            atomic_sub(lrugen.nr_pages[gen], folio_nr_pages(folio))
            list_del(addr(folio.lru))
            return True


@kernel
def lru_add_drain(node: Ptr[Node]) -> None:
    """Empty this CPU's batch."""
    scratch = addr(node.scratch[smp_processor_id()])
    if not (MGLRU_WORKINGSET or MGLRU_KEEPS_REFS):
        for i in range(scratch.lru_add):
            folio = cast(Ptr[Folio], scratch.batch[i])
            set_mask_bits(folio, FOLIO_REFS_MASK | FOLIO_REFERENCED, 0)
    scratch.lru_add = 0


@kernel
def lru_add_batch(node: Ptr[Node], folio: Ptr[Folio]) -> bool:
    """One folio more for this CPU's batch; whether that fills it, which empties it."""
    scratch = addr(node.scratch[smp_processor_id()])
    scratch.batch[scratch.lru_add] = cast(u64, folio)
    scratch.lru_add += 1
    full = scratch.lru_add == PAGEVEC_SIZE
    if full:
        lru_add_drain(node)
    return full


@kernel
def folio_add_lru(node: Ptr[Node], folio: Ptr[Folio], from_swap: u64, write: u64) -> None:
    """A fault brings a folio; ``from_swap`` if its content is from there, ``write`` if it
    is written."""
    flags = READ_ONCE(folio.flags)
    if not MGLRU_WORKINGSET or flags & FOLIO_WORKINGSET:
        set_mask_bits(folio, 0, FOLIO_ACTIVE)
    elif not flags & FOLIO_REFERENCED:
        folio_mark_accessed(folio)
    at_once = lru_add_batch(node, folio)
    if MGLRU_WORKINGSET and from_swap and write:
        lru_add_drain(node)
    spin_lock(node.lrugen.lru_lock)
    lru_gen_add_folio(addr(node.lrugen), folio, from_swap and (write or at_once))
    spin_unlock(node.lrugen.lru_lock)


@kernel
def folio_add_lru_vma(
    mm: Ptr[Mm], page: u64, folio: Ptr[Folio], from_swap: u64, write: u64
) -> None:
    """``folio_add_lru`` for ``page`` of the process, unless its VMA is locked."""
    if not vma_is_locked(mm, page):
        folio_add_lru(mm.node, folio, from_swap, write)


@kernel
def inc_min_seq(lrugen: Ptr[LruGen]) -> bool:
    """Merge the oldest generation into the next; False if a batch was not enough.

    Caller holds ``lru_lock`` and calls again after letting go of it.
    """
    gen = lru_gen_from_seq(lrugen.min_seq)
    remaining: u64 = MAX_LRU_BATCH
    while not list_empty(addr(lrugen.lists[gen])):
        folio = cast(Ptr[Folio], lrugen.lists[gen].prev)
        count_protected(lrugen, READ_ONCE(folio.flags))
        new_gen = folio_inc_gen(lrugen, folio)
        list_del(addr(folio.lru))
        list_add_tail(addr(folio.lru), addr(lrugen.lists[new_gen]))
        remaining -= 1
        if remaining == 0:
            return False
    reset_ctrl_pos(lrugen)
    WRITE_ONCE(lrugen.min_seq, lrugen.min_seq + 1)
    return True


@kernel
def try_to_inc_min_seq(lrugen: Ptr[LruGen]) -> bool:
    """Drop oldest generations whose list is empty, keeping MIN_NR_GENS.

    Caller holds ``lru_lock``. Returns whether any was dropped.
    """
    dropped: u64 = 0
    while lrugen.min_seq + MIN_NR_GENS <= lrugen.max_seq:
        if not list_empty(addr(lrugen.lists[lru_gen_from_seq(lrugen.min_seq)])):
            break
        WRITE_ONCE(lrugen.min_seq, lrugen.min_seq + 1)
        dropped = 1
    if dropped:
        reset_ctrl_pos(lrugen)
    return dropped != 0


@kernel
def inc_max_seq(lrugen: Ptr[LruGen], max_seq: u64) -> bool:
    """Open generation ``max_seq + 1``; False if somebody else already has."""
    spin_lock(lrugen.lru_lock)
    while lrugen.max_seq == max_seq and lrugen.max_seq + 1 - lrugen.min_seq >= MAX_NR_GENS:
        if not inc_min_seq(lrugen):
            spin_unlock(lrugen.lru_lock)
            spin_lock(lrugen.lru_lock)
    if lrugen.max_seq != max_seq:
        spin_unlock(lrugen.lru_lock)
        return False
    WRITE_ONCE(lrugen.timestamps[lru_gen_from_seq(max_seq + 1)], get_cycles())
    smp_store_release(lrugen.max_seq, max_seq + 1)
    spin_unlock(lrugen.lru_lock)
    return True
