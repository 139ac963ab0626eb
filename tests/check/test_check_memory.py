"""Accesses and frees that go wrong: each has its name, and what is near it has none."""

from __future__ import annotations

import pytest

from mkold.check import Case, Scenario, Setup
from mkold.check.decide import decide_case
from mkold.check.properties import PROPERTIES
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    addr,
    atomic_inc,
    cast,
    kernel,
    poison,
    smp_load_acquire,
    smp_store_release,
    u64,
    unpoison,
)
from mkold.mm.page_alloc import memblock_init
from mkold.mm.slab import KmemCache, kmem_cache_alloc, kmem_cache_free, kmem_cache_init


class Node(Struct):
    key: u64
    next: Ptr[Node]


class Root(Struct):
    node: Ptr[Node]
    flag: u64


@kernel
def free_it(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.key, 2)


@kernel
def free_and_tell(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.key, 2)
    smp_store_release(r.flag, 1)


@kernel
def write_it(r: Ptr[Root], n: Ptr[Node]) -> None:
    WRITE_ONCE(n.key, 1)


@kernel
def write_plainly_later(r: Ptr[Root], n: Ptr[Node]) -> None:
    if smp_load_acquire(r.flag):
        n.key = 1


@kernel
def recycle_later(r: Ptr[Root], n: Ptr[Node]) -> None:
    if smp_load_acquire(r.flag):
        unpoison(n.key, 2)
        n.key = 1
        n.next = 0
        poison(n.key, 2)


@kernel
def free_later(r: Ptr[Root], n: Ptr[Node]) -> None:
    if smp_load_acquire(r.flag):
        poison(n.key, 2)


@kernel
def count_it(r: Ptr[Root], n: Ptr[Node]) -> None:
    atomic_inc(n.key)


@kernel
def nothing(r: Ptr[Root], n: Ptr[Node]) -> None:
    WRITE_ONCE(r.flag, 0)


@kernel
def write_own(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.key, 2)
    n.next = n


@kernel
def free_own_twice(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.key, 2)
    poison(n.key, 2)


@kernel
def free_the_middle(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.next, 1)


@kernel
def free_in_parts(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.key, 1)
    poison(n.next, 1)


@kernel
def free_too_much(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(n.key, 3)


@kernel
def free_a_number(r: Ptr[Root], n: Ptr[Node]) -> None:
    poison(cast(Ptr[u64], 0x123456789).value, 1)


@kernel
def read_beside(r: Ptr[Root], n: Ptr[Node]) -> u64:
    return READ_ONCE((n + 1).key)


@kernel
def write_before(r: Ptr[Root], n: Ptr[Node]) -> None:
    (n - 1).next = 0


@kernel
def read_null(r: Ptr[Root], n: Ptr[Node]) -> u64:
    return r.node.next.key


@kernel
def write_null(r: Ptr[Root], n: Ptr[Node]) -> None:
    r.node.next.next = 0


@kernel
def read_number(r: Ptr[Root], n: Ptr[Node]) -> u64:
    return cast(Ptr[Node], 0x123456789).next.key


@kernel
def write_number(r: Ptr[Root], n: Ptr[Node]) -> None:
    WRITE_ONCE(cast(Ptr[u64], READ_ONCE(r.flag) + 0x77777777).value, 1)


@kernel
def follow(r: Ptr[Root], n: Ptr[Node]) -> u64:
    return READ_ONCE(READ_ONCE(n.next).key)


@kernel
def follow_to_write(r: Ptr[Root], n: Ptr[Node]) -> None:
    WRITE_ONCE(READ_ONCE(n.next).key, 1)


@kernel
def own_local(r: Ptr[Root], n: Ptr[Node]) -> u64:
    x = 5
    where = addr(x)
    where.value = 6
    return where.value + n.key


def broken(*functions: KernelFunction, fresh: bool = False) -> tuple[str, ...]:
    def setup(m: Setup) -> None:
        root = m.new(Root, "root")
        node = m.raw(Node.size) if fresh else m.new(Node, "node")
        m.poke(root, node)
        for i, function in enumerate(functions):
            m.thread(f"t{i}", (function, root, node))

    found = decide_case(Case("as written", Scenario("memory", setup)))
    assert found.status != "undecided"
    assert all(breach.execution is not None for breach in found.breaches)
    assert PROPERTIES.keys() >= {*found.broken}
    return found.broken


ROWS = [
    ("written while it is freed", (free_it, write_it), {"write-after-free", "data-race"}),
    ("written after it was freed", (free_and_tell, write_plainly_later), {"write-after-free"}),
    ("counted while it is freed", (free_it, count_it), {"use-after-free", "data-race"}),
    ("freed by two", (free_it, free_it), {"double-free", "data-race"}),
    ("freed again later", (free_and_tell, free_later), {"double-free"}),
    ("given out again in between", (free_and_tell, recycle_later), set()),
    ("freed once", (free_it, nothing), set()),
    ("its own, written", (write_own,), {"write-after-free"}),
    ("its own, freed twice", (free_own_twice,), {"double-free"}),
    ("freed from the middle", (free_the_middle,), {"invalid-free"}),
    ("freed in parts", (free_in_parts,), set()),
    ("more freed than there is", (free_too_much,), {"invalid-free"}),
    ("what is no object freed", (free_a_number,), {"invalid-free"}),
    ("read beside it", (read_beside,), {"out-of-bounds"}),
    ("written before it", (write_before,), {"out-of-bounds"}),
    ("read through NULL", (read_null,), {"null-dereference"}),
    ("written through NULL", (write_null,), {"null-dereference"}),
    ("read through a number", (read_number,), {"wild-address"}),
    ("written through a number", (write_number,), {"wild-address"}),
    ("read through freed memory", (free_it, follow),
     {"use-after-free", "poison-address", "null-dereference", "data-race"}),
    ("a local in memory", (own_local,), set()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("functions", "flags"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_each_has_its_name(functions: tuple[KernelFunction, ...], flags: set[str]) -> None:
    assert set(broken(*functions)) == flags


@pytest.mark.parametrize("function", [follow, follow_to_write], ids=lambda f: f.name)
def test_through_what_nobody_wrote(function: KernelFunction) -> None:
    assert set(broken(function, fresh=True)) == {"use-before-init", "poison-address"}


@kernel
def alloc_and_free(cache: Ptr[KmemCache], n: u64) -> None:
    for _ in range(n):
        word = cast(Ptr[u64], kmem_cache_alloc(cache))
        WRITE_ONCE(word.value, 1)
        kmem_cache_free(cache, cast(u64, word))


@kernel
def alloc_and_free_twice(cache: Ptr[KmemCache], n: u64) -> None:
    object = kmem_cache_alloc(cache)
    kmem_cache_free(cache, object)
    kmem_cache_free(cache, object)


@pytest.mark.parametrize(
    ("function", "wanted"), [(alloc_and_free, ()), (alloc_and_free_twice, ("double-free",))]
)
def test_a_cache_that_recycles(function: KernelFunction, wanted: tuple[str, ...]) -> None:
    def setup(m: Setup) -> None:
        heap = m.words(256, align=8)
        m.call(memblock_init, heap, heap + 256)
        cache = m.new(KmemCache, "cache")
        m.call(kmem_cache_init, cache, 2, 0)
        m.call(alloc_and_free, cache, 1)
        m.thread("t", (function, cache, 2))

    scenario = Scenario("cache", setup, {"SLAB_OBJECTS": 2})
    assert decide_case(Case("as written", scenario)).broken == wanted
