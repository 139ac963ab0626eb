"""rhashtable: a lookup during a rehash looks into the old table and misses the new one.

The rehash announces the new table, links the object there, and takes it out of the old one.
One bucket a table, one object.

    mkold check docs/gallery/rhashtable_rehash.py --explain
"""

from mkold.check import Case, Claim, Drop, Exchange, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    Struct,
    kernel,
    rcu_assign_pointer,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    smp_rmb,
    u64,
)

SOURCE = (
    'include/linux/rhashtable.h, __rhashtable_lookup(): "Ensure we see any new tables."; the '
    'future table is of commit 97defe1ecf86 ("rhashtable: Per bucket locks & deferred '
    'expansion/shrinking")'
)
SENTENCE = "An object that is in the table all the time is found."


class Table(Struct):
    bucket: u64
    future_tbl: "Ptr[Table]"


class Rhashtable(Struct):
    tbl: Ptr[Table]


@kernel
def rhashtable_lookup(ht: Ptr[Rhashtable], key: u64) -> bool:
    rcu_read_lock()
    found = False
    tbl = rcu_dereference(ht.tbl)
    while tbl and not found:
        found = rcu_dereference(tbl.bucket) == key
        smp_rmb()
        tbl = rcu_dereference(tbl.future_tbl)
    rcu_read_unlock()
    return found


@kernel
def rhashtable_rehash(ht: Ptr[Rhashtable], new: Ptr[Table]) -> None:
    old = READ_ONCE(ht.tbl)
    rcu_assign_pointer(old.future_tbl, new)
    rcu_assign_pointer(new.bucket, READ_ONCE(old.bucket))
    rcu_assign_pointer(old.bucket, NULL)
    rcu_assign_pointer(ht.tbl, new)


def lookup_and_rehash(m: Setup) -> None:
    ht, old, new = m.new(Rhashtable, "ht"), m.new(Table, "old"), m.new(Table, "new")
    m.poke(ht, old)
    m.poke(old, 7)
    m.thread("lookup", (rhashtable_lookup, ht, 7))
    m.thread("rehash", (rhashtable_rehash, ht, new))
    m.never("missed", lambda end: not end.result("lookup"), "The object is there, not found.")


SCENARIO = Scenario("rehash", lookup_and_rehash)
NO_RMB = (Drop("rhashtable_lookup:smp_rmb"),)
UNLINK_FIRST = (
    Exchange(
        "rhashtable_rehash:rcu_assign_pointer[1]", "rhashtable_rehash:rcu_assign_pointer[2]"
    ),
)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("the bucket, smp_rmb(), the new table", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("no smp_rmb()", SCENARIO, NO_RMB),
            Case("unlinked before it is linked", SCENARIO, UNLINK_FIRST),
        ),
    ),
]
