"""Seeded faults of what a guest's use of a page leaves with the LRU: by a fault, on Arm without
hardware access flags, and by the young leaf that goes, on x86."""

from __future__ import annotations

from validate_mutants import Mutant

from mkold.ir.variant import Set
from mkold.lang import (
    Ptr,
    addr,
    kernel,
    smp_processor_id,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mglru.generations import lru_add_batch, lru_add_drain, lru_gen_add_folio
from mkold.mm.mm_types import FOLIO_ACTIVE, Folio, Node
from mkold.mm.tiers import set_mask_bits

UNTIL_6_12 = "arm64-soft-6.12-evict"
SINCE_6_13 = "arm64-soft-7.2-evict"
ZAPPED = "x86-6.12-zap-marks"


@kernel
def drain_that_keeps_uses(node: Ptr[Node]) -> None:
    """``lru_add_drain`` that leaves its folios alone."""
    node.scratch[smp_processor_id()].lru_add = 0


@kernel
def add_that_empties(node: Ptr[Node], folio: Ptr[Folio], from_swap: u64, write: u64) -> None:
    """``folio_add_lru`` that empties the batch for what is written, as with a swap cache."""
    set_mask_bits(folio, 0, FOLIO_ACTIVE)
    lru_add_batch(node, folio)
    if from_swap and write:
        lru_add_drain(node)
    spin_lock(node.lrugen.lru_lock)
    lru_gen_add_folio(addr(node.lrugen), folio, 0)
    spin_unlock(node.lrugen.lru_lock)


RELEASE_MUTANTS = (
    Mutant(
        "an access flag fault marks nothing",
        (Set("ACCESS_FAULT_MARKS", 0),),
        recording=UNTIL_6_12,
    ),
    Mutant(
        "uses outlast the batch",
        stand_in=("lru_add_drain", drain_that_keeps_uses),
        recording=UNTIL_6_12,
    ),
    Mutant(
        "what comes from swap is written through the swap cache",
        stand_in=("folio_add_lru", add_that_empties),
        recording=UNTIL_6_12,
    ),
    Mutant(
        "Arm marks a page at each try",
        (Set("RELEASE_UNUSED", 0), Set("KVM_FAULT_MARKS", 1)),
        recording=SINCE_6_13,
    ),
    Mutant("a young leaf goes without a word", (Set("ZAP_MARKS", 0),), recording=ZAPPED),
)
