"""Guests that are made rather than recorded: the kernel's selftests and plain distributions.

Rules
-----
* A workload has ``bytes_per_vcpu`` of memory for each vCPU (``-b``); with ``overlap`` (``-o``)
  all vCPUs share the memory of one.
* All of it is populated before the first access.
* What is drawn is drawn from the seed; the same workload is the same program.

Sources: tools/testing/selftests/kvm/access_tracking_perf_test.c (its phases, and -v, -b, -o)
and mmu_stress_test.c (each vCPU goes through its part of one memory, writing, then reading);
the skew of ``zipf`` is that of YCSB (B. Cooper and others, SoCC 2010).
Known limits: here the host ages at its interval all the while, and the phases of a selftest
run into each other; one by one they are run by ``mkold.run.selftest``. A row touches a page
``BURST`` times, as a program that does something with what it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import UsageError
from mkold.base.memory import allowance, require
from mkold.run.guest import ROW_PAGE_SHIFT
from mkold.run.program import Program
from mkold.run.results import TraceInfo
from mkold.run.spec import MachineSpec

Words = NDArray[np.uint64]
Pages = NDArray[np.int64]

BURST = 4
MIN_ROWS, ROWS_PER_PAGE = 1 << 16, 4
ZIPF_SKEW = 0.99
HOT_SHARE, HOT_ACCESSES = 0.1, 0.9
WRITES = 0.3
PHASES, PHASE_SHARE = 8, 0.25
MAX_PAGES = 1 << 26
BYTES_PER_ROW = 48  # while it is made


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload: a sentence, and the rows of one vCPU: page and whether it is written, in
    order, given the number of pages and a source of chance."""

    sentence: str
    rows: Callable[[int, np.random.Generator], tuple[Pages, NDArray[np.bool_]]]


def _n_rows(pages: int) -> int:
    return max(MIN_ROWS, ROWS_PER_PAGE * pages)


def _mixed(pages: Pages, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    return pages, chance.random(len(pages)) < WRITES


def _access_tracking(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    return np.tile(np.arange(n), 2), np.arange(2 * n) < n


def _mmu_stress(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    return np.tile(np.arange(n), 3), np.arange(3 * n) % 3 != 2


def _zipf(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    weight = np.cumsum(np.arange(1, n + 1, dtype=np.float64) ** -ZIPF_SKEW)
    rank = np.searchsorted(weight, chance.random(_n_rows(n)) * weight[-1])
    place = chance.permutation(n)
    return _mixed(place[rank], chance)


def _uniform(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    return _mixed(chance.integers(0, n, _n_rows(n)), chance)


def _scan(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    return _mixed(np.arange(n), chance)


def _hot_set(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    rows = _n_rows(n)
    hot = chance.permutation(n)[: max(1, int(n * HOT_SHARE))]
    anywhere = chance.integers(0, n, rows)
    among = hot[chance.integers(0, len(hot), rows)]
    return _mixed(np.where(chance.random(rows) < HOT_ACCESSES, among, anywhere), chance)


def _phases(n: int, chance: np.random.Generator) -> tuple[Pages, NDArray[np.bool_]]:
    width, rows = max(1, int(n * PHASE_SHARE)), _n_rows(n) // PHASES
    parts = [
        (chance.integers(0, width, rows) + int(n * phase / PHASES)) % n
        for phase in range(PHASES)
    ]
    return _mixed(np.concatenate(parts), chance)


WORKLOADS: dict[str, Workload] = {
    "access_tracking": Workload("write all memory, then read it (selftest)", _access_tracking),
    "mmu_stress": Workload(
        "go through all memory, two writes to a read (selftest)", _mmu_stress
    ),
    "zipf": Workload("few pages get most accesses, spread over all memory", _zipf),
    "hot_set": Workload("a tenth of the pages gets nine accesses in ten", _hot_set),
    "phases": Workload("a quarter of the pages at a time, moving on eight times", _phases),
    "scan": Workload("page after page", _scan),
    "uniform": Workload("every page alike", _uniform),
}


def workload(
    name: str,
    machine: MachineSpec,
    bytes_per_vcpu: int,
    *,
    overlap: bool = False,
    seed: int = 1,
    memory_bytes: int | None = None,
) -> tuple[Program, TraceInfo]:
    """The program of workload ``name`` for ``machine``, made within ``memory_bytes``.

    Raises
    ------
    UsageError : there is no such workload, or no page for each vCPU, or far too many
    LimitError : it needs more memory than the bound
    """
    if name not in WORKLOADS:
        known = "\n".join(f"  {key:16} {w.sentence}" for key, w in WORKLOADS.items())
        raise UsageError(f"there is no workload {name}; there are:\n{known}")
    pages = bytes_per_vcpu >> machine.page_shift
    regions = 1 if overlap else machine.vcpus
    if not 2 <= pages <= MAX_PAGES // regions:
        raise UsageError(f"{bytes_per_vcpu} bytes a vCPU: 2 to {MAX_PAGES:,} pages in all")
    bound = allowance() if memory_bytes is None else memory_bytes
    require(_n_rows(pages) * regions * BYTES_PER_ROW, bound, f"workload {name}")
    made = [_packed(name, pages, i, seed) for i in range(regions)]
    n_rows = len(made[0])
    parts = () if overlap else tuple((i * n_rows, n_rows) for i in range(regions))
    everything = np.arange(pages * regions, dtype=np.uint64)
    loader = (everything << np.uint64(ROW_PAGE_SHIFT)) | np.uint64(1 << 1 | 1)
    program = Program(np.concatenate(made), loader, pages * regions, parts)
    command = f"{WORKLOADS[name].sentence}, seed {seed}" + (", -o" if overlap else "")
    return program, TraceInfo(name, command, pages * regions, n_rows * BURST, n_rows * regions)


def _packed(name: str, pages: int, region: int, seed: int) -> Words:
    page, write = WORKLOADS[name].rows(pages, np.random.default_rng([seed, region]))
    rows = (page + region * pages).astype(np.uint64) << np.uint64(ROW_PAGE_SHIFT)
    return rows | np.uint64(BURST << 1) | write.astype(np.uint64)
