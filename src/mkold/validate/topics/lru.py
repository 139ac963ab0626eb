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
from mkold.mm.pgtable import find_host_pte, pte_pfn
from mkold.mm.rmap import pfn_folio
from mkold.validate.look import in_word
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import Vm

SEEN = ("listed", "behind-1", "behind-2")


@kernel
def generation(mm: Ptr[Mm], page: u64) -> u64:
    """What ``page``'s folio stores of its generation: the number plus one; 0: it is on no
    list, or there is none."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    if not (pte & PTE_PRESENT) or pte_pfn(pte) == mm.node.zero_pfn:
        return 0
    return READ_ONCE(pfn_folio(mm.node, pte_pfn(pte)).flags) & FOLIO_GEN_MASK


@kernel
def ask_generation(mm: Ptr[Mm], page: u64, which: u64) -> u64:
    """Whether ``page`` is on a list (0), or a bit (1, 2) of how far behind the youngest."""
    stored = generation(mm, page)
    if not which or not stored:
        return stored != 0
    behind = (mm.node.lrugen.max_seq + 1 - stored) % MAX_NR_GENS
    return (behind >> (which - 1)) & 1


@kernel
def look_generation(mm: Ptr[Mm], start: u64, n: u64, which: u64) -> u64:
    """``ask_generation`` in a word."""
    return in_word(ask_generation, mm, start, n, which)


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
    return {name: system.words("look_generation", which) for which, name in enumerate(SEEN)}


def evicts(vm: Vm) -> bool:
    """Not where an x86 guest has a guest: on Linux 6.1 it differs."""
    return vm.guest != "npt"


EVICTION = Topic(
    kinds={"evict": Kind(False, 4, 0.0, counts=True)},
    real=real,
    system=system,
    entries=(run_eviction,),
    fits=evicts,
)
LRU = Topic(
    kinds={"aging-pass": Kind(False, 7, 0.0)},
    real=real,
    system=system,
    entries=(try_to_inc_max_seq, lru_add_drain, look_generation),
    real_look=real_look,
    system_look=system_look,
)
