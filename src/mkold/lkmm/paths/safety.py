"""Memory safety: accesses and frees that go wrong, whatever the engine.

* An access where there is no memory (``known.objects``) has no meaning, so of each thread
  the first is told, and what follows from it is not. A free there is an ``invalid-free``.
* A free from the middle of an object whose start the thread has not freed is one too.
* Values say what is freed: a read tells by the poison that it finds. A write tells by what
  it overwrites: right after a free in coherence it is a ``write-after-free``, a free there
  or of what was poisoned from the beginning a ``double-free``. An allocation may overwrite
  a free, and a lock's release is a use of it. The write of a read-modify-write is not told
  again: its read is.

Known limits: memory that is recycled without being poisoned and unpoisoned again shows
nothing; a free of the first words of an object is taken for a free of all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON, Program
from mkold.lkmm.graph.events import INIT, Life, Node
from mkold.lkmm.known.objects import Objects
from mkold.lkmm.paths.paths import Act, Path


@dataclass(frozen=True, slots=True)
class Overwriting:
    """``flag`` is raised where ``write`` comes right after ``source`` in coherence."""

    flag: str
    write: int
    source: int  # a write, or INIT


def astray(program: Program, path: Path) -> Iterator[str]:
    """Flags of accesses and frees by where they go, of a program that knows its objects."""
    objects, ended = Objects(program), set()
    starts: set[tuple[int, int]] = set()  # of objects that a thread freed
    for act in path.acts:
        if act.address < 0 or act.thread in ended:
            continue
        flag = stray_of(objects, act.address, act.node.life)
        if flag:
            ended.add(act.thread)
            yield flag
        elif act.node.life is Life.FREED:
            start = objects.start(act.address)
            if act.address == start:
                starts.add((act.thread, start))
            elif start is not None and (act.thread, start) not in starts:
                yield "invalid-free"


def stray_of(objects: Objects, address: int, life: Life) -> str:
    """The flag of an access, or a free, where there is no memory; empty: there is."""
    flag = objects.stray(address)
    beside = flag in ("out-of-bounds", "wild-address")
    return "invalid-free" if life is Life.FREED and beside else flag


def overwriting(program: Program, paths: Sequence[Path]) -> Iterator[Overwriting]:
    """What would be wrong in which order of writes."""
    frees: dict[int, list[Act]] = {}
    acts = [act for path in paths for act in path.acts if act.is_write]
    for act in acts:
        if act.node.life is Life.FREED:
            frees.setdefault(act.address, []).append(act)
    for act in acts if frees else ():
        flag = over_a_free(act.node)
        if not flag:
            continue
        for free in frees.get(act.address, ()):
            if free is not act:
                yield Overwriting(flag, act.id, free.id)
        if flag == "double-free" and program.init.get(act.address) == POISON:
            yield Overwriting(flag, act.id, INIT)


def over_a_free(write: Node) -> str:
    """What ``write`` is called where it overwrites a free; empty: nothing."""
    if write.life is Life.GIVEN or write.rmw >= 0:
        return ""
    if write.life is Life.FREED:
        return "double-free"
    row = PRIMS.get(write.prim)
    return "use-after-free" if row is not None and row.leaves else "write-after-free"
