"""Trees in the shape of a circle: each thread accesses a word, and then the next thread's.

Message passing, load and store buffering and their kin, with one of what orders two accesses
between them: this is where a relation that an engine lacks shows.
"""

from __future__ import annotations

from random import Random

from campaign.tree import Body, Cond, If, Place, Section, Stmt, Tree, Use

WORDS = "xyz"
# What orders a read or a write before a read or a write ...
ORDERS = {
    "RR": ("smp_rmb", "acquire", "index", "smp_mb"),
    "RW": ("value", "branch", "index", "carried", "acquire", "release"),
    "WR": ("smp_mb", "smp_mb", "synchronize_rcu", "reader", "locked fence"),
    "WW": ("smp_wmb", "smp_wmb", "release", "release", "handed over"),
}
# ... and what may not.
ANY = ("none", "update", "reader", "synchronize_rcu", "handed over", "locked fence", "srcu",
       "barrier", "smp_rmb", "smp_wmb", "smp_mb")  # fmt: skip
LOCK = Use("spin_lock", (), Place("l")), Use("spin_unlock", (), Place("l"))
READER = Use("rcu_read_lock"), Use("rcu_read_unlock")
SRCU_READER = (Use("srcu_read_lock", ("r3",), Place("s")),
               Use("srcu_read_unlock", (), Place("s"), ("r3",)))  # fmt: skip
PLAINLY = {"READ_ONCE": "load", "WRITE_ONCE": "store"}


def random_shape(random: Random) -> Tree:
    """A circle of two or three threads; in half of them all is ordered."""
    n = 2 if random.random() < 0.7 else 3
    most = random.choice((1.0, 0.6))
    threads = [
        _thread(random, Place(WORDS[i]), Place(WORDS[(i + 1) % n]), ordered=most)
        for i in range(n)
    ]
    if n == 2 and random.random() < 0.2:  # in between a word is updated by another
        threads.append((_update(random, Place("y")),))
    return Tree(tuple(threads), (), (random.randint(0, 2), random.randint(0, 2)))


def _access(random: Random, place: Place, register: str, word: str, *, read: bool) -> Use:
    plain = random.random() < 0.12
    prim = "READ_ONCE" if read else "WRITE_ONCE"
    prim = PLAINLY[prim] if plain else prim
    return Use(prim, (register,), place) if read else Use(prim, (), place, (word,))


def _thread(random: Random, one: Place, two: Place, *, ordered: float) -> Body:
    sorts = random.choice(list(ORDERS))
    way = random.choice(ORDERS[sorts] if random.random() < ordered else ANY)
    first = _access(random, one, "r1", "1", read=sorts[0] == "R")
    second = _access(random, two, "r2", "2", read=sorts[1] == "R")
    between: tuple[Stmt, ...] = ()
    match way:
        case "smp_mb" | "smp_rmb" | "smp_wmb" | "barrier" | "synchronize_rcu":
            between = (Use(way),)
        case "acquire":
            first = Use("smp_load_acquire", ("r1",), one)
        case "release":
            second = Use("smp_store_release", (), two, ("2",))
        case "value":
            second = Use("WRITE_ONCE", (), two, (random.choice(("r1", "r1 + 1", "r1 & 2")),))
        case "carried":
            kept = Place("d")
            between = Use("WRITE_ONCE", (), kept, ("r1",)), Use("READ_ONCE", ("r3",), kept)
            second = Use("WRITE_ONCE", (), two, ("r3 + 1",))
        case "branch":
            return first, If(Cond("r1", "!=", "0"), (second,)), *_more(random)
        case "index":
            there = Place(two.name, "r1 ^ r1")  # the word itself, by way of what was read
            second = _access(random, there, "r2", "2", read=sorts[1] == "R")
        case "update":
            first = _update(random, one)
        case "reader":
            return (Section(READER[0], (first, second), READER[1]),)
        case "srcu":
            if random.random() < 0.5:
                between = (Use("synchronize_srcu", (), Place("s")),)
            else:
                return (Section(SRCU_READER[0], (first, second), SRCU_READER[1]),)
        case "handed over":
            return Section(LOCK[0], (first,), LOCK[1]), Section(LOCK[0], (second,), LOCK[1])
        case "locked fence":
            fence = random.choice(("smp_mb__after_spinlock", "smp_mb__after_unlock_lock"))
            inner = Section(LOCK[0], (Use(fence), second), LOCK[1])
            return Section(LOCK[0], (first,), LOCK[1]), inner
    return first, *between, second, *_more(random)


def _update(random: Random, place: Place) -> Use:
    suffix = random.choice(("", "_relaxed", "_acquire", "_release"))
    prim = random.choice(("xchg", "cmpxchg", "atomic_add_return"))
    args = {"xchg": ("1",), "cmpxchg": ("0", "1"), "atomic_add_return": ("1",)}[prim]
    return Use(prim + suffix, ("r1",), place, args)


def _more(random: Random) -> tuple[Stmt, ...]:
    """Now and then one access more, of a word of the circle."""
    if random.random() < 0.75:
        return ()
    read = random.random() < 0.5
    return (_access(random, Place(random.choice(WORDS)), "r2", "3", read=read),)
