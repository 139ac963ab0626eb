"""The host in a machine's memory: where frames, folios, tables and swap lie, and its boot.

Frames are as many as the budget and the zero page. What the host allocates for itself, KVM's
tables among it, comes from the slabs' area.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mkold.mm.mm_types import CACHE_LINE, Folio, Mm, Node
from mkold.mm.mmu_notifier import MmuNotifierSubscriptions
from mkold.run.layout import Layout, Place, Words

# Runs a function of the machine's image, by its name.
Call = Callable[..., object]


class HostMemory:
    """The host's areas.

    Parameters
    ----------
    layout : takes the areas
    values : the image's build parameters
    n_pages : of the one process
    budget : frames for them
    slab_words : room for what the host allocates
    n_huge : runs of frames for large folios, on top of the budget
    """

    def __init__(
        self, layout: Layout, values: Mapping[str, int], n_pages: int, budget: int,
        slab_words: int, n_huge: int = 0,
    ) -> None:  # fmt: skip
        self.page_shift = values["PAGE_SHIFT"]
        self.ptrs_per_pte = 1 << values["PTE_TABLE_SHIFT"]
        self.n_pages, self.budget = n_pages, budget
        self._n_small = budget + 1  # and the zero page
        self._n_huge = n_huge
        self._n_tables = -(-n_pages // self.ptrs_per_pte)
        page_words = 1 << self.page_shift
        self.node_at, self.mm_at = layout.struct(Node), layout.struct(Mm)
        self._subscriptions = layout.struct(MmuNotifierSubscriptions)
        self._pmd = layout.area(self._n_tables)
        self._ptl = layout.area(self._n_tables * CACHE_LINE)
        table_align = self.ptrs_per_pte if n_huge else page_words
        self._tables = layout.area(self._n_tables * self.ptrs_per_pte, table_align)
        self._links = layout.area(self._n_small)
        self._huge_left = layout.area(n_huge)
        # Runs are aligned to their length, which may leave frames unused before the first.
        run = self.ptrs_per_pte
        self._n_frames = self._n_small + (n_huge + 1 if n_huge else 0) * run
        self._slabs = layout.area(slab_words)
        self._slabs_end = layout.end
        self._folios = layout.area(self._n_frames * Folio.size)
        self._swap = layout.area(n_pages * page_words, page_words)
        self._first_frame = layout.area(self._n_frames * page_words, page_words)

    def places(self, words: Words) -> tuple[Place, Place]:
        """The node and the mm, in memory ``words``."""
        return Place(words, self.node_at, Node), Place(words, self.mm_at, Mm)

    def boot(self, call: Call, mm: Place, mode: int, vma_start: int = 0) -> None:
        """Boot it: the process has ``n_pages`` from page ``vma_start`` on, and the LRU ages in
        ``mode``. ``mm`` is the place of the mm."""
        first_pfn = self._first_frame >> self.page_shift
        call("memblock_init", self._slabs, self._slabs_end)
        call("page_alloc_init", first_pfn, self._n_small, self._links)
        call("node_init", self.node_at, self._folios, first_pfn, self._n_frames, self.budget)
        if self._n_huge:
            run = self.ptrs_per_pte
            first_huge = -(-(first_pfn + self._n_small) // run) * run
            call("huge_frames_init", self.node_at, first_huge, self._n_huge, self._huge_left)
        call("lru_init", self.node_at, mode)
        call("mm_init", self.mm_at, self.node_at, vma_start, self.n_pages)
        mm["pmd"], mm["ptl"], mm["n_tables"] = self._pmd, self._ptl, self._n_tables
        mm["next_table"], mm["swap_area"] = self._tables, self._swap
        call("mmu_notifier_subscriptions_init", self.mm_at, self._subscriptions)
