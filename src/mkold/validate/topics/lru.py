"""The multi-generational LRU: a pass, eviction, and which generation each page is in.

Eviction is what debugfs does for ``-``: from the oldest generation on, of all but the two
youngest, without aging in between.
"""

from __future__ import annotations

from mkold.lang import NULL, READ_ONCE, Ptr, kernel, u64
from mkold.mm.mglru.evict import run_eviction
from mkold.mm.mglru.generations import lru_add_drain
from mkold.mm.mglru.walk import try_to_inc_max_seq
from mkold.mm.mm_types import FOLIO_GEN_MASK, MAX_NR_GENS, PTE_PRESENT, Mm
from mkold.mm.pgtable import pte_offset, pte_pfn
from mkold.mm.rmap import pfn_folio
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import Vm

SEEN = ("listed", "behind-1", "behind-2")


@kernel
def ask_generation(mm: Ptr[Mm], page: u64) -> u64:
    """What ``page``'s folio stores of its generation: the number plus one; 0: it is on no
    list, or there is none."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    if not (pte & PTE_PRESENT) or pte_pfn(pte) == mm.node.zero_pfn:
        return 0
    return READ_ONCE(pfn_folio(mm.node, pte_pfn(pte)).flags) & FOLIO_GEN_MASK


def real(real: Real, step: Step) -> None:
    """Through ``lru_gen`` in debugfs."""
    real.ask("pass" if step.name == "aging-pass" else f"evict {step.by}")


def system(system: System, step: Step) -> None:
    """The call that debugfs makes."""
    node, mm = system.node, system.mm
    if step.name == "evict":
        system.call("run_eviction", node.at, mm.at, step.by)
    else:
        system.call("try_to_inc_max_seq", mm.at, node["lrugen.max_seq"], 1)


def real_look(real: Real) -> dict[str, int]:
    """Which pages are on a list, and two bits of how far behind the youngest generation."""
    return real.bitmaps("generations", SEEN)


def system_look(system: System) -> dict[str, int]:
    """The same."""
    system.call("lru_add_drain", system.node.at)
    found = dict.fromkeys(SEEN, 0)
    max_seq = system.node["lrugen.max_seq"]
    for page in range(system.vm.n_pages):
        stored = system.call("ask_generation", system.mm.at, system.hva(page))
        if stored:
            behind = (max_seq + 1 - stored) % MAX_NR_GENS
            found["listed"] |= 1 << page
            found["behind-1"] |= (behind & 1) << page
            found["behind-2"] |= (behind >> 1) << page
    return found


def pages_alone(vm: Vm) -> bool:
    """Whether the LRU has no others than the VM's pages: L1 keeps tables there."""
    return vm.guest != "nested"


EVICTION = Topic(
    kinds={"evict": Kind(False, 4, 0.0, counts=True)},
    real=real,
    system=system,
    entries=(run_eviction,),
    fits=pages_alone,
)
LRU = Topic(
    kinds={"aging-pass": Kind(False, 7, 0.0)},
    real=real,
    system=system,
    entries=(try_to_inc_max_seq, lru_add_drain, ask_generation),
    real_look=real_look,
    system_look=system_look,
)
