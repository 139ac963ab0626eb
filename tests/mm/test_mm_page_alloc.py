"""Frames and slabs: every one exactly once, poison on free, memory used up."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.program import POISON
from mkold.lang import compile_text
from mkold.mm import page_alloc, slab
from mkold.native import Memory, build

SHIFT = 4
N_FRAMES = 500
FIRST = (BOOT_WORDS >> SHIFT) + 64
OBJECT = 5
CACHE = (FIRST + N_FRAMES << SHIFT) + 16
HEAP = CACHE + slab.KmemCache.size + 7 & ~7
HEAP_WORDS = 16 * 400
HELD = HEAP + HEAP_WORDS

TEXT = """
from mkold.lang import *
from mkold.mm.page_alloc import alloc_page, free_page, PAGE_SHIFT
from mkold.mm.slab import KmemCache, kmem_cache_alloc, kmem_cache_free

@kernel
def churn_pages(held: Ptr[u64], n_held: u64, rounds: u64, me: u64) -> u64:
    # Keep up to n_held frames, each marked with our number; count marks that changed.
    wrong = 0
    seed = me * 977 + 1
    for _ in range(rounds):
        seed = seed * 6364136223846793005 + 1442695040888963407
        slot = (seed >> 33) % n_held
        pfn = held[slot]
        if pfn:
            wrong += cast(Ptr[u64], pfn << PAGE_SHIFT).value != me + 1
            free_page(pfn)
            held[slot] = 0
        else:
            pfn = alloc_page()
            if pfn:
                word = cast(Ptr[u64], pfn << PAGE_SHIFT)
                wrong += word.value != POISON
                word.value = me + 1
            held[slot] = pfn
    return wrong

@kernel
def churn_objects(cache: Ptr[KmemCache], held: Ptr[u64], n_held: u64, rounds: u64, me: u64,
                  other: Ptr[u64]) -> u64:
    wrong = 0
    seed = me * 977 + 1
    for _ in range(rounds):
        seed = seed * 6364136223846793005 + 1442695040888963407
        slot = (seed >> 33) % n_held
        object = held[slot]
        if object:
            wrong += cast(Ptr[u64], object).value != me + 1
            kmem_cache_free(cache, object)
            held[slot] = 0
        else:
            object = kmem_cache_alloc(cache)
            if object:
                wrong += cast(Ptr[u64], object).value != POISON
                cast(Ptr[u64], object).value = me + 1
            held[slot] = object
    return wrong
"""


@pytest.fixture(scope="module")
def image():
    module = compile_text(TEXT)
    return build(
        [
            module["churn_pages"], module["churn_objects"],
            page_alloc.page_alloc_init, page_alloc.alloc_page, page_alloc.free_page,
            page_alloc.nr_free_pages, page_alloc.memblock_init, page_alloc.memblock_alloc,
            slab.kmem_cache_init, slab.kmem_cache_alloc, slab.kmem_cache_free,
            slab.kmem_cache_nr_free,
        ],
        {"PAGE_SHIFT": SHIFT},
        checked=False,
    )  # fmt: skip


@pytest.fixture
def memory(image):
    memory = Memory(HELD + 4 * 256)
    image.call("memblock_init", memory, 0, HEAP, HEAP + HEAP_WORDS)
    image.call("page_alloc_init", memory, 0, FIRST, N_FRAMES, BOOT_WORDS)
    return memory


def test_every_frame_once_then_none(image, memory):
    taken = [image.call("alloc_page", memory, cpu % 3) for cpu in range(N_FRAMES)]
    assert sorted(taken) == list(range(FIRST, FIRST + N_FRAMES))
    assert image.call("alloc_page", memory, 0) == 0
    image.call("free_page", memory, 9, taken[3])
    # Another CPU gets it, though it lies in CPU 9's own list.
    assert image.call("alloc_page", memory, 0) == taken[3]
    assert image.call("nr_free_pages", memory, 0) == 0


def test_a_freed_frame_is_poison(image, memory):
    pfn = image.call("alloc_page", memory, 0)
    words = memory.words[pfn << SHIFT : pfn + 1 << SHIFT]
    assert (words == POISON).all()
    words[:] = 1
    image.call("free_page", memory, 0, pfn)
    assert (words == POISON).all()


def test_frames_from_threads(image, memory):
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(image.call, "churn_pages", memory, i, HELD + 256 * i, 200, 200_000, i)
            for i in range(3)
        ]
        assert [job.result() for job in jobs] == [0, 0, 0]
    held = [int(w) for w in memory.words[HELD : HELD + 768] if w]
    assert len(held) == len(set(held)) > 0
    assert image.call("nr_free_pages", memory, 0) == N_FRAMES - len(held)
    rest = []
    while pfn := image.call("alloc_page", memory, 0):
        rest.append(pfn)
    assert sorted(held + rest) == list(range(FIRST, FIRST + N_FRAMES))


def test_objects_from_threads(image, memory):
    image.call("kmem_cache_init", memory, 0, CACHE, OBJECT, 0)
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(
                image.call, "churn_objects", memory, i, CACHE, HELD + 256 * i, 100, 200_000, i,
                HELD,
            )
            for i in range(3)
        ]  # fmt: skip
        assert [job.result() for job in jobs] == [0, 0, 0]
    held = [int(w) for w in memory.words[HELD : HELD + 768] if w]
    assert len(held) == len(set(held)) > 0
    free = image.call("kmem_cache_nr_free", memory, 0, CACHE)
    made = int(memory.words[CACHE + 2])
    assert made == len(held) + free
    assert all(o % 8 == 0 and HEAP <= o < HEAP + HEAP_WORDS for o in held)


def test_a_cache_without_memory_gives_nothing(image, memory):
    image.call("kmem_cache_init", memory, 0, CACHE, 100, 0)
    objects = []
    while address := image.call("kmem_cache_alloc", memory, 0, CACHE):
        objects.append(address)
    assert len(objects) == len(set(objects)) == HEAP_WORDS // (104 * 16) * 16
    image.call("kmem_cache_free", memory, 1, CACHE, objects[0])
    assert (memory.words[objects[0] : objects[0] + 100] == POISON).all()
    assert (memory.words[objects[1] : objects[1] + 100] == POISON).all()  # never written


def test_a_typesafe_object_is_recycled_at_once_and_never_poisoned(image, memory):
    image.call("kmem_cache_init", memory, 0, CACHE, OBJECT, slab.SLAB_TYPESAFE_BY_RCU)
    address = image.call("kmem_cache_alloc", memory, 0, CACHE)
    assert memory.words[address : address + OBJECT].tolist() == [0] * OBJECT
    memory.words[address : address + OBJECT] = range(1, OBJECT + 1)
    image.call("kmem_cache_free", memory, 0, CACHE, address)
    assert memory.words[address : address + OBJECT].tolist() == [1, 2, 3, 4, 5]
    assert image.call("kmem_cache_alloc", memory, 0, CACHE) == address
