"""DAMON: one sampling of pages, a region each.

After ``damon-watch`` a kdamond that watches these pages has prepared them; if one watched
others, it has ended. With ``damon-check`` it checks them and ends; the answer is which of them
it found accessed. The process's own translations are forgotten after the first.

``damon-paddr`` watches the frames that these pages have. A frame whose page goes may soon be
another's, and which is not the same on both sides: of such a page nothing is said.
"""

from __future__ import annotations

from mkold.mm.damon import (
    DamonCtx,
    DamonRegion,
    damon_check_accesses,
    damon_forget_frames,
    damon_pa_prepare_access_checks,
    damon_set_regions,
    damon_va_prepare_access_checks,
)
from mkold.mm.mglru.generations import lru_add_drain
from mkold.validate.pages import pages_of, pages_text
from mkold.validate.real import Real, bits_of
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import Vm


def real(real: Real, step: Step) -> int | None:
    """``damon-watch 3-5``, ``damon-paddr 3-5``, ``damon-check``."""
    if step.name == "damon-check":
        return bits_of(real.ask("damon-check")[0])
    real.ask(f"{step.name} {pages_text(step.pages)}")
    return None


def system(system: System, step: Step) -> int | None:
    """The two halves of a kdamond's round."""
    system.call("lru_add_drain", system.node.at)
    if step.name == "damon-check":
        system.call("damon_check_accesses", system.damon, system.mm.at)
        found = _accessed(system)
        system.call("damon_set_regions", system.damon, system.regions, 0, 0)
        return found
    for at, page in enumerate(pages_of(step.pages)):
        region = system.regions + at * DamonRegion.size
        system.memory.words[region + DamonRegion.offset("page")] = system.hva(page)
    n, physical = step.pages.bit_count(), step.name == "damon-paddr"
    system.call("damon_set_regions", system.damon, system.regions, n, int(physical))
    kind = "pa" if physical else "va"
    system.call(f"damon_{kind}_prepare_access_checks", system.damon, system.mm.at)
    return None


def _accessed(system: System) -> int:
    """Bitmap of the regions' pages that were counted."""
    words, found = system.memory.words, 0
    for at in range(int(words[system.damon + DamonCtx.offset("nr_regions")])):
        region = system.regions + at * DamonRegion.size
        if words[region + DamonRegion.offset("nr_accesses")]:
            found |= 1 << int(words[region + DamonRegion.offset("page")]) - system.hva(0)
    return found


def has_damon(vm: Vm) -> bool:
    """Whether the host has DAMON."""
    return vm.damon


def has_frames(vm: Vm) -> bool:
    """Whether the host has DAMON, and a page is a frame."""
    return vm.damon and not vm.huge


def real_forget(real: Real) -> dict[str, int]:
    """Nothing is seen."""
    real.ask("damon-look")
    return {}


def system_forget(system: System) -> dict[str, int]:
    """Nothing is seen."""
    system.call("damon_forget_frames", system.damon, system.mm.at)
    return {}


DAMON = Topic(
    kinds={
        "damon-watch": Kind(False, 6, 0.1),
        "damon-check": Kind(True, 5, 0.0),
    },
    real=real,
    system=system,
    entries=(
        lru_add_drain, damon_set_regions, damon_va_prepare_access_checks,
        damon_check_accesses,
    ),
    parameters={"PAGE_IDLE_FLAG": 1},
    fits=has_damon,
)  # fmt: skip
DAMON_PHYSICAL = Topic(
    kinds={"damon-paddr": Kind(False, 5, 0.3)},
    real=real,
    system=system,
    entries=(damon_pa_prepare_access_checks, damon_forget_frames),
    real_look=real_forget,
    system_look=system_forget,
    parameters={"PAGE_IDLE_FLAG": 1},
    fits=has_frames,
)
