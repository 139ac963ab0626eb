"""A hazard pointer: the reader's announcement comes too late for who frees the object.

The reader says which object it is about to use and looks again whether it is the current
one; the updater replaces the object and waits until nobody says that he uses it. Not in the
kernel: it is the scheme that was posted for it.

    mkold check docs/gallery/hazard_pointer.py --explain
"""

from mkold.check import Case, Claim, Drop, Force, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cpu_relax,
    kernel,
    poison,
    smp_load_acquire,
    smp_mb,
    smp_store_release,
    u64,
)

SOURCE = (
    '"[RFC PATCH 1/4] hazptr: Add initial implementation of hazard pointers", '
    "https://lore.kernel.org/r/20240917143402.930114-2-boqun.feng@gmail.com"
)
SENTENCE = "An object is there while a reader has announced it and uses it."


class Shared(Struct):
    ptr: Ptr[u64]
    hazptr: Ptr[u64]


@kernel
def hazptr_tryprotect(s: Ptr[Shared]) -> Ptr[u64]:
    ptr = READ_ONCE(s.ptr)
    WRITE_ONCE(s.hazptr, ptr)
    smp_mb()
    if READ_ONCE(s.ptr) != ptr:
        WRITE_ONCE(s.hazptr, NULL)
        return NULL
    return ptr


@kernel
def read(s: Ptr[Shared]) -> u64:
    ptr = hazptr_tryprotect(s)
    if not ptr:
        return 0
    value = READ_ONCE(ptr.value)
    smp_store_release(s.hazptr, NULL)  # hazptr_clear()
    return value


@kernel
def replace(s: Ptr[Shared], new: Ptr[u64]) -> None:
    old = READ_ONCE(s.ptr)
    smp_store_release(s.ptr, new)
    smp_mb()
    while smp_load_acquire(s.hazptr) == old:
        cpu_relax()
    poison(old.value, 1)


def reader_and_updater(m: Setup) -> None:
    s = m.new(Shared, "s")
    old, new = m.words(1, "old", value=5), m.words(1, "new", value=6)
    m.poke(s, old)
    m.thread("reader", (read, s))
    m.thread("updater", (replace, s, new))


SCENARIO = Scenario("hazard", reader_and_updater)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() on either side", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case(
                "no smp_mb() after the announcement",
                SCENARIO,
                (Drop("hazptr_tryprotect:smp_mb"),),
            ),
            Case("no smp_mb() before the search", SCENARIO, (Drop("replace:smp_mb"),)),
            Case("no second look", SCENARIO, (Force("hazptr_tryprotect:READ_ONCE[1]", 0),)),
        ),
    ),
]
