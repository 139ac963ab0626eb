"""Trees by chance: two or three threads, up to some eight accesses, one theme each.

A theme says which statements are drawn how often, so that what waits is set, what is freed is
read, and what is locked is contended, more often than pure chance would have it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from campaign.shapes import random_shape
from campaign.themes import (
    FENCES,
    FETCHES,
    MOST_ACCESSES,
    NUMBERS,
    READS,
    SHAPES,
    SUFFIXES,
    SWAPS,
    THEMES,
    WRITES,
)
from campaign.tree import (
    Body,
    Cond,
    For,
    Free,
    Helper,
    If,
    Jump,
    Let,
    Place,
    Pointer,
    Reuse,
    Section,
    Stmt,
    Tree,
    Use,
    While,
    uses,
)


class Maker:
    """Makes one tree."""

    def __init__(self, kind: str, random: Random) -> None:
        self.kind, self.random = kind, random
        self.theme = THEMES[random.choice(list(THEMES))]
        self.words = "xy" if random.random() < 0.8 else "xyz"
        self.left = 0  # accesses that the thread may still make
        self.depth = 0
        self.in_loop = False

    def tree(self) -> Tree:
        random = self.random
        n = 2 if random.random() < 0.8 else 3
        left = random.randint(4, MOST_ACCESSES)
        threads = []
        for i in range(n):
            self.left = max(1, left // (n - i))
            before = self.left
            threads.append(self.body(self.left))
            left -= before - max(0, self.left)
        if random.random() < 0.15:  # threads that can be exchanged
            threads = [threads[0], *(threads[0] for _ in threads[1:])]
        return Tree(tuple(threads), tuple(self.starts()), (random.randint(0, 2),
                    random.randint(0, 2)))  # fmt: skip

    def starts(self) -> list[tuple[str, int | str]]:
        random = self.random
        found: list[tuple[str, int | str]] = []
        if random.random() < 0.7:
            found.append(("g", random.choice("cd")))
        if random.random() < 0.25:
            found.append((random.choice(self.words), 1))
        return found

    # -- statements ---------------------------------------------------------------

    def body(self, least: int = 1) -> Body:
        made: list[Stmt] = []
        for _ in range(self.random.randint(1, max(1, least))):
            if self.left <= 0:
                break
            made += self.some()
        return tuple(made)

    def some(self) -> list[Stmt]:
        theme = self.theme
        word = self.random.choices(list(theme), list(theme.values()))[0]
        if self.depth >= 2 and word not in ("read", "write", "fence"):
            word = self.random.choice(("read", "write"))
        maker: Callable[[], list[Stmt]] = getattr(self, f"make_{word}")
        made = maker()
        self.left -= sum(use.place is not None for use in uses(tuple(made)))
        if self.kind == "kernel" and self.random.random() < 0.03 and self.depth == 0:
            return [Helper(self.register(), tuple(made))]
        return made

    def within(self, least: int = 1, *, loop: bool = False) -> Body:
        """The body of something."""
        outer = self.in_loop
        self.depth += 1
        self.in_loop = outer or loop
        left = self.left
        made = self.body(least)
        self.left = left  # counted by who asked
        self.depth -= 1
        self.in_loop = outer
        return made

    def register(self) -> str:
        return self.random.choice(("r1", "r1", "r2", "r3"))

    def place(self) -> Place:
        if self.random.random() < 0.03:
            return Place("a", self.random.choice(("0", "1")))
        return Place(self.random.choice(self.words))

    def value(self) -> str:
        return self.random.choice((*NUMBERS, *NUMBERS, "r1", "r1 + 1", "r2 & 1"))

    def test(self) -> Cond:
        return Cond(self.random.choice(("r1", "r1", "r2")), self.random.choice(("==", "!=")),
                    self.random.choice(NUMBERS))  # fmt: skip

    def read(self, place: Place | None = None) -> Use:
        return Use(self.random.choice(READS), (self.register(),), place or self.place())

    def write(self, place: Place | None = None) -> Use:
        return Use(self.random.choice(WRITES), (), place or self.place(), (self.value(),))

    def make_read(self) -> list[Stmt]:
        return [self.read()]

    def make_write(self) -> list[Stmt]:
        return [self.write()]

    def make_fence(self) -> list[Stmt]:
        return [Use(self.random.choice(FENCES))]

    def make_warn(self) -> list[Stmt]:
        prim = self.random.choice(("WARN_ON_ONCE", "BUG_ON"))
        return [self.read(), Use(prim, (), None, (self.random.choice(("r1 == 2", "r2 == 1")),))]

    def make_branch(self) -> list[Stmt]:
        orelse = self.within() if self.random.random() < 0.2 else ()
        return [self.read(), If(self.test(), self.within(), orelse)]

    def make_jump(self) -> list[Stmt]:
        words = ("break", "return") if self.in_loop else ("return",)
        return [If(self.test(), (Jump(self.random.choice(words)),))]

    # -- read-modify-writes -------------------------------------------------------

    def swap(self, register: str | None = None) -> Use:
        prim = self.random.choice(SWAPS) + self.random.choice(SUFFIXES)
        args = (self.random.choice(NUMBERS), self.value())
        return Use(prim, (register or self.register(),), self.place(),
                   args if prim.startswith("cmp") else args[1:])  # fmt: skip

    def make_swap(self) -> list[Stmt]:
        return [self.swap()]

    def make_fetch(self) -> list[Stmt]:
        if self.random.random() < 0.3:
            prim = self.random.choice(("atomic_inc", "atomic_dec", "atomic_add_unless"))
            args = ("1", self.random.choice(NUMBERS)) if prim.endswith("unless") else ()
            dsts = (self.register(),) if args else ()
            return [Use(prim, dsts, self.place(), args)]
        prim = self.random.choice(FETCHES) + self.random.choice(SUFFIXES)
        return [Use(prim, (self.register(),), self.place(), ("1",))]

    def make_retry(self) -> list[Stmt]:
        """A compare-and-swap until it succeeds; the word it saw may be carried on."""
        place, suffix = self.place(), self.random.choice(SUFFIXES)
        new = self.random.choice(("r1 + 1", "r1 | 2", "1"))
        first = Use("READ_ONCE", ("r1",), place)
        swap = Use(f"cmpxchg{suffix}", ("r2",), place, ("r1", new))
        done = If(Cond("r2", "==", "r1"), (Jump("break"),))
        if self.random.random() < 0.5:
            return [While(None, (first, swap, done))]
        return [first, While(None, (swap, done, Let("r1", "r2")))]

    def make_spin(self) -> list[Stmt]:
        """A lock made by hand."""
        place = self.place()
        take = self.random.choice(
            (Use("xchg_acquire", ("r2",), place, ("1",)), Use("xchg", ("r2",), place, ("1",)),
             Use("cmpxchg_acquire", ("r2",), place, ("0", "1")))
        )  # fmt: skip
        look = Use("READ_ONCE", ("r3",), place)
        inner: Body = (While(Cond("r3", "!=", "0"), (look,)),)
        inner = (look, *inner) if self.random.random() < 0.3 else ()
        loop = While(None, (take, If(Cond("r2", "==", "0"), (Jump("break"),)), *inner))
        prim = self.random.choice(("smp_store_release", "smp_store_release", "WRITE_ONCE"))
        leave = Use(prim, (), place, ("0",))
        held = self.within()
        return [loop, *held, leave] if self.random.random() < 0.9 else [loop, *held]

    # -- loops --------------------------------------------------------------------

    def make_wait(self) -> list[Stmt]:
        """Wait for a word; now and then something is done in a round."""
        prim = self.random.choice(("READ_ONCE", "READ_ONCE", "smp_load_acquire"))
        look = Use(prim, (self.register(),), self.place())
        cond = Cond(look.dsts[0], self.random.choice(("==", "!=", "!=")),
                    self.random.choice(NUMBERS))  # fmt: skip
        chance = self.random.random()
        busy = self.within(loop=True) if self.random.random() < 0.35 else ()
        if chance < 0.35:
            return [While(Cond(Use(prim, (), look.place), cond.op, cond.right), busy)]
        if chance < 0.55:
            return [While(cond, (look, *busy), after=True)]
        leave = If(cond, (Jump("break" if self.random.random() < 0.9 else "return"),))
        round_: Body = (look, *busy, leave) if self.random.random() < 0.5 else (
            look, leave, *busy)  # fmt: skip
        return [While(None, round_)]

    def make_count(self) -> list[Stmt]:
        body = self.within(loop=True)
        if self.random.random() < 0.4:
            body = (*body, Use("WRITE_ONCE", (), Place("a", "i"), (self.value(),)))
        if self.random.random() < 0.3:
            body = (*body, If(self.test(), (Jump("break"),)))
        return [For(2, body)]

    def make_index(self) -> list[Stmt]:
        """An element of the array, by a number that was read."""
        index = self.random.choice(("r1 & 1", "r1 & 1", "r1", "0", "1"))
        place = Place("a", index)
        first = Use("READ_ONCE", ("r1",), self.place())
        second = self.write(place) if self.random.random() < 0.5 else self.read(place)
        return [first, second] if self.random.random() < 0.7 else [second]

    # -- locks and sections -------------------------------------------------------

    def section(self, enter: Use, leave: Use | None, least: int = 2) -> list[Stmt]:
        if self.random.random() < 0.06:
            leave = None
        return [Section(enter, self.within(least), leave)]

    def make_lock(self) -> list[Stmt]:
        lock = Place("l")
        if self.kind == "kernel" and self.random.random() < 0.15:
            lock = Place("m")
            return self.section(Use("mutex_lock", (), lock), Use("mutex_unlock", (), lock))
        made = self.section(Use("spin_lock", (), lock), Use("spin_unlock", (), lock))
        fence = self.random.choice(("smp_mb__after_spinlock", "smp_mb__after_unlock_lock"))
        if self.random.random() < 0.15 and isinstance(made[0], Section):
            made = [Section(made[0].enter, (Use(fence), *made[0].body), made[0].leave)]
        return made

    def make_rwlock(self) -> list[Stmt]:
        lock = Place("w")
        if self.random.random() < 0.5:
            return self.section(Use("read_lock", (), lock), Use("read_unlock", (), lock))
        return self.section(Use("write_lock", (), lock), Use("write_unlock", (), lock))

    def make_trylock(self) -> list[Stmt]:
        lock = Place("l")
        take, leave = Use("spin_trylock", ("r3",), lock), Use("spin_unlock", (), lock)
        return [take, If(Cond("r3", "!=", "0"), (*self.within(), leave))]

    def make_poll(self) -> list[Stmt]:
        """Look at a word under a lock until it is as wanted."""
        look, lock = self.read(), Place("l")
        held = Section(Use("spin_lock", (), lock), (look,), Use("spin_unlock", (), lock))
        return [While(Cond(look.dsts[0], "==", "0"), (held,), after=True)]

    def make_section(self) -> list[Stmt]:
        return self.section(Use("rcu_read_lock"), Use("rcu_read_unlock"))

    def make_grace(self) -> list[Stmt]:
        return [Use("synchronize_rcu")]

    def make_srcu(self) -> list[Stmt]:
        srcu = Place("s")
        return self.section(Use("srcu_read_lock", ("r3",), srcu),
                            Use("srcu_read_unlock", (), srcu, ("r3",)))  # fmt: skip

    def make_sync_srcu(self) -> list[Stmt]:
        return [Use("synchronize_srcu", (), Place("s"))]

    # -- pointers and objects -----------------------------------------------------

    def make_follow(self) -> list[Stmt]:
        """Read a pointer, and what it points to."""
        prim = self.random.choice(("rcu_dereference", "READ_ONCE", "smp_load_acquire"))
        first = Use(prim, ("p1",), Place("g"))
        there = Place("p1")
        second = self.read(there) if self.random.random() < 0.75 else self.write(there)
        guarded: Body = (If(Cond("p1", "!=", "0"), (second,)),)
        made: Body = (first, *(guarded if self.random.random() < 0.8 else (second,)))
        if self.random.random() < 0.5:
            leave = Use("rcu_read_unlock")
            return [Section(Use("rcu_read_lock"), made, leave)]
        return list(made)

    def object(self) -> str:
        return self.random.choice("cd")

    def make_publish(self) -> list[Stmt]:
        new = self.object()
        prim = self.random.choice(("rcu_assign_pointer", "smp_store_release", "WRITE_ONCE"))
        made: list[Stmt] = [Use(prim, (), Place("g"), (Pointer(new),))]
        if self.random.random() < 0.6:
            made.insert(0, self.write(Place(new)))
        return made

    def make_unlink(self) -> list[Stmt]:
        """Take the pointer away, wait perhaps, free what it pointed to."""
        swap = Use("xchg", ("p1",), Place("g"), (Pointer("0"),))
        wait: Body = (Use("synchronize_rcu"),) if self.random.random() < 0.6 else ()
        if self.kind == "kernel":
            free: Body = (Free("p1", later=not wait and self.random.random() < 0.3),)
        else:
            free = (Use("WRITE_ONCE", (), Place("p1"), ("2",)),)
        return [swap, If(Cond("p1", "!=", "0"), (*wait, *free))]

    def make_replace(self) -> list[Stmt]:
        made = self.make_publish()
        if self.random.random() < 0.7:
            made.append(Use("synchronize_rcu"))
        return made + self.make_free()

    def make_free(self) -> list[Stmt]:
        name = self.object()
        if self.kind != "kernel":
            return [Use("WRITE_ONCE", (), Place(name), ("2",))]
        chance = self.random.random()
        if chance < 0.2:
            return [Free(name), Reuse(name, self.random.choice(NUMBERS))]
        return [Free(name, later=chance > 0.85)]


def random_tree(kind: str, seed: str) -> Tree:
    """The tree of that seed, the same each time."""
    random = Random(seed)
    if random.random() < SHAPES:
        return random_shape(random)
    return Maker(kind, random).tree()
