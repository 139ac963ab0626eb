"""``madvise`` of the process about its memory."""

from __future__ import annotations

from mkold.mm.fault.madvise import madvise_dontneed, madvise_pageout
from mkold.validate.pages import pages_of, pages_text
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic


def real(real: Real, step: Step) -> None:
    """``advise pageout 3-5``."""
    real.ask(f"advise {step.name} {pages_text(step.pages)}")


def system(system: System, step: Step) -> None:
    """Page by page."""
    for page in pages_of(step.pages):
        system.call(
            f"madvise_{step.name}", system.mm.at, system.hva(page), system.hva(page + 1)
        )


ADVICE = Topic(
    kinds={"dontneed": Kind(False, 6, 0.15), "pageout": Kind(False, 6, 0.2)},
    real=real,
    system=system,
    entries=(madvise_dontneed, madvise_pageout),
)
