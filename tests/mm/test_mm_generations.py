"""Generations against a plain model: any sequence of operations, the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.mm.mglru.generations import (
    folio_add_lru,
    folio_lru_gen,
    inc_max_seq,
    lru_gen_del_folio,
    lru_init,
    try_to_inc_min_seq,
)
from mkold.mm.mglru.young import promote, reset_batch_size
from mkold.mm.mm_init import node_init
from mkold.mm.mm_types import MAX_NR_GENS, MIN_NR_GENS, Folio, ListHead, Node
from mkold.mm.page_alloc import page_alloc_init
from mkold.native import Memory, build
from mkold.run.layout import Place, word_offset
from mkold.run.spec import MODES

N = 12
NO_GEN = (1 << 64) - 1
IMAGE = build(
    [
        page_alloc_init, node_init, lru_init, promote, reset_batch_size, folio_add_lru,
        lru_gen_del_folio, inc_max_seq, try_to_inc_min_seq, folio_lru_gen,
    ],
    {"PAGE_SHIFT": 3},
)  # fmt: skip
NODE = BOOT_WORDS
FOLIOS = NODE + Node.size
LINKS = FOLIOS + (N + 1) * Folio.size
FRAMES = (LINKS + N + 8) & ~7
LRUGEN = NODE + word_offset(Node, "lrugen")
SCRATCH = NODE + word_offset(Node, "scratch")


@dataclass
class Model:
    """``number`` is a folio's generation, ``listed`` the one whose list it lies on."""

    max_seq: int = 3
    min_seq: int = 0
    number: dict[int, int] = field(default_factory=dict)
    listed: dict[int, int] = field(default_factory=dict)

    def add(self, folio: int) -> None:
        if folio not in self.number:
            self.number[folio] = self.listed[folio] = self.max_seq

    def delete(self, folio: int) -> None:
        self.number.pop(folio, None)
        self.listed.pop(folio, None)

    def promote(self, folio: int) -> None:
        if folio in self.number:
            self.number[folio] = self.max_seq

    def age(self) -> None:
        if self.max_seq - self.min_seq + 1 == MAX_NR_GENS:
            for folio, seq in list(self.listed.items()):
                if seq == self.min_seq:
                    self.number[folio] = max(self.number[folio], self.min_seq + 1)
                    self.listed[folio] = self.number[folio]
            self.min_seq += 1
        self.max_seq += 1

    def drop(self) -> None:
        while self.min_seq + MIN_NR_GENS <= self.max_seq:
            if self.min_seq in self.listed.values():
                break
            self.min_seq += 1


class Kernel:
    """The same operations in kernel Python."""

    def __init__(self) -> None:
        self.memory = Memory(FRAMES + ((N + 2) << 3))
        self.call("page_alloc_init", FRAMES >> 3, N + 1, LINKS)
        self.call("node_init", NODE, FOLIOS, FRAMES >> 3, N + 1, N)
        self.call("lru_init", NODE, MODES["lockless"])
        self.node = Place(self.memory.words, NODE, Node)

    def call(self, name: str, *args: int) -> object:
        return IMAGE.call(name, self.memory, 0, *args)

    def gen(self, folio: int) -> object:
        return self.call("folio_lru_gen", FOLIOS + folio * Folio.size)

    def add(self, folio: int) -> None:
        if self.gen(folio) == NO_GEN:
            self.call("folio_add_lru", NODE, FOLIOS + folio * Folio.size, 0, 0)

    def delete(self, folio: int) -> None:
        self.call("lru_gen_del_folio", LRUGEN, FOLIOS + folio * Folio.size)

    def promote(self, folio: int) -> None:
        gen = self.node["lrugen.max_seq"] % MAX_NR_GENS
        pfn = (FRAMES >> 3) + folio
        self.call("promote", NODE, SCRATCH, pfn, gen)
        self.call("reset_batch_size", NODE)

    def age(self) -> None:
        assert self.call("inc_max_seq", LRUGEN, self.node["lrugen.max_seq"]) == 1

    def drop(self) -> None:
        self.call("try_to_inc_min_seq", LRUGEN)

    def listed(self, gen: int) -> list[int]:
        head = NODE + word_offset(Node, "lrugen.lists") + gen * ListHead.size
        found, at = [], int(self.memory.words[head])
        while at != head:
            found.append((at - FOLIOS) // Folio.size)
            at = int(self.memory.words[at])
        return found


folios = st.integers(0, N - 1)
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "delete", "promote"]), folios),
        st.tuples(st.sampled_from(["age", "drop"])),
    ),
    max_size=60,
)


def agree(model: Model, kernel: Kernel) -> None:
    max_seq, min_seq = kernel.node["lrugen.max_seq"], kernel.node["lrugen.min_seq"]
    assert (max_seq, min_seq) == (model.max_seq, model.min_seq)
    assert MIN_NR_GENS <= max_seq - min_seq + 1 <= MAX_NR_GENS
    for folio in range(N):
        seq = model.number.get(folio)
        assert kernel.gen(folio) == (NO_GEN if seq is None else seq % MAX_NR_GENS)
    counts = kernel.node.array("lrugen.nr_pages").tolist()
    for gen in range(MAX_NR_GENS):
        on_list = {f for f, seq in model.listed.items() if seq % MAX_NR_GENS == gen}
        assert set(kernel.listed(gen)) == on_list
        assert len(kernel.listed(gen)) == len(on_list), "nobody is listed twice"
        assert counts[gen] == sum(s % MAX_NR_GENS == gen for s in model.number.values())


@settings(max_examples=60, deadline=None)
@given(operations)
def test_generations_follow_the_model(sequence: list[tuple[str, ...]]) -> None:
    model, kernel = Model(), Kernel()
    for name, *arguments in sequence:
        getattr(model, name)(*arguments)
        getattr(kernel, name)(*arguments)
        agree(model, kernel)


def test_a_generation_is_merged_in_reverse() -> None:
    kernel = Kernel()
    for folio in (0, 1):
        kernel.add(folio)
    kernel.age()
    for folio in (2, 3):
        kernel.add(folio)
    for _ in range(3):
        kernel.age()
    oldest = kernel.listed(kernel.node["lrugen.min_seq"] % MAX_NR_GENS)
    assert oldest[::-1] == [1, 0, 2, 3], (
        "from the tail: the merged ones, the last that came first"
    )
