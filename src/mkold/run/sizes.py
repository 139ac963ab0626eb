"""How large a machine is: its frames, its tables, and what it takes of this host's memory."""

from __future__ import annotations

from mkold.mm.mm_types import Folio
from mkold.run.image import content_shift
from mkold.run.spec import MIN_FRAMES, MachineSpec

WORD_BYTES = 8
ROW_BYTES = 3 * WORD_BYTES  # packed, what it is packed from, and its copy in the machine


def frames_for(n_pages: int, share: float) -> int:
    """The host's frames; with a share of 1 or more, enough that none is ever evicted."""
    if share >= 1:
        return n_pages + MIN_FRAMES
    return max(MIN_FRAMES, int(n_pages * share))


def vm_pages(n_pages: int, spec: MachineSpec) -> int:
    """Pages of the VM's memory: the guest's, and what L1 keeps in front of its guest's."""
    own = spec.nesting.own_pages(n_pages, content_shift(spec.vcpus)) if spec.nesting else 0
    return n_pages + own


def table_words(n_pages: int, spec: MachineSpec) -> int:
    """Room for the tables of so many pages, in the mode that they are run in, in words."""
    spec = spec.check()
    arch = spec.architecture
    nested = spec.nesting.table_words(n_pages) if spec.nesting else 0
    return arch.table_words(n_pages) + arch.modes[spec.mmu].table_words(n_pages) + nested


def needed_bytes(n_pages: int, n_rows: int, spec: MachineSpec) -> int:
    """About what a machine takes: swap, frames and tables by the page, the trace by the row."""
    n_pages = vm_pages(n_pages, spec)
    frames = frames_for(n_pages, spec.memory_share)
    content = WORD_BYTES << content_shift(spec.vcpus)
    by_frame = content + WORD_BYTES * (Folio.size + 1)
    tables = table_words(n_pages, spec) * WORD_BYTES
    by_page = content + WORD_BYTES * (4 + 2 * spec.vcpus)
    return frames * by_frame + n_pages * by_page + tables + n_rows * ROW_BYTES
