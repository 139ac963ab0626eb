"""The multi-generational LRU's generations, as its debugfs file lists them.

Source: Documentation/admin-guide/mm/multigen_lru.rst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mkold.base.errors import InputError

LRU_GEN = "/sys/kernel/debug/lru_gen"


@dataclass(frozen=True, slots=True)
class Generation:
    """``seq``, age in milliseconds, pages of either type."""

    seq: int
    age_ms: int
    anon: int
    file: int


@dataclass(frozen=True, slots=True)
class Lruvec:
    """One memory cgroup on one node, with its generations, oldest first."""

    memcg: int
    path: str
    node: int
    generations: tuple[Generation, ...]

    @property
    def pages(self) -> int:
        """Pages in all of them."""
        return sum(gen.anon + gen.file for gen in self.generations)


def lruvecs(text: str) -> list[Lruvec]:
    """What ``lru_gen`` says; lines that are none of its are passed over."""
    found: list[Lruvec] = []
    memcg, path = 0, ""
    for line in text.splitlines():
        words = line.split()
        if head := re.match(r"memcg\s+(\d+)\s*(.*)", line.strip()):
            memcg, path = int(head.group(1)), head.group(2).strip()
        elif head := re.match(r"node\s+(\d+)", line.strip()):
            found.append(Lruvec(memcg, path, int(head.group(1)), ()))
        elif found and len(words) == 4 and all(word.isdigit() for word in words):
            last = found[-1]
            more = Generation(*(int(word) for word in words))
            found[-1] = Lruvec(last.memcg, last.path, last.node, (*last.generations, more))
    return found


def of_path(found: list[Lruvec], path: str) -> list[Lruvec]:
    """Those of one cgroup.

    Raises
    ------
    InputError : there is none; lists those there are
    """
    chosen = [lruvec for lruvec in found if lruvec.path == path and lruvec.generations]
    if not chosen:
        known = ", ".join(sorted({lruvec.path for lruvec in found})) or "none can be read"
        raise InputError(f"no cgroup {path}; there are: {known}")
    return chosen
