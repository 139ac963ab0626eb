"""One aging pass on demand, through the multi-generational LRU's debugfs file.

Source: Documentation/admin-guide/mm/multigen_lru.rst: ``+ memcg_id node_id max_gen_nr
[can_swap [force_scan]]``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mkold.base.errors import InputError
from mkold.host.files import Files
from mkold.host.generations import LRU_GEN, Lruvec, lruvecs, of_path


@dataclass(frozen=True, slots=True)
class Pass:
    """An aging pass: how long it took, and the generations after it."""

    seconds: float
    after: Lruvec


def age(files: Files, path: str) -> list[Pass]:
    """Age a cgroup once, on every node.

    Raises
    ------
    InputError : it is no live host, it has no such cgroup, or it may not be written
    """
    if not files.live:
        raise InputError(f"{files.root} is a saved tree: only a live host can be aged")
    passes = []
    for lruvec in of_path(lruvecs(files.read(LRU_GEN)), path):
        command = f"+ {lruvec.memcg} {lruvec.node} {lruvec.generations[-1].seq} 1 1"
        began = time.perf_counter()
        try:
            (files.root / LRU_GEN.lstrip("/")).write_text(command)
        except OSError as error:
            raise InputError(f"{LRU_GEN}: {error.strerror}: aging needs root") from error
        seconds = time.perf_counter() - began
        aged = of_path(lruvecs(files.read(LRU_GEN)), path)
        passes += [Pass(seconds, after) for after in aged if after.node == lruvec.node]
    return passes
