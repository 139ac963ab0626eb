"""Made guests: the same from the same seed, of the size asked for, and they run."""

from __future__ import annotations

import numpy as np
import pytest

from mkold.base.errors import LimitError, UsageError
from mkold.run.measure import run_program
from mkold.run.spec import MachineSpec, RunSpec
from mkold.run.workloads import BURST, WORKLOADS, workload

SIZE = 4 << 20  # 1,024 pages
ONE = MachineSpec(vcpus=1).check()
TWO = MachineSpec(vcpus=2).check()


@pytest.mark.parametrize("name", WORKLOADS)
def test_rows_stay_in_memory_and_repeat(name: str) -> None:
    program, info = workload(name, ONE, SIZE, seed=3)
    again, _ = workload(name, ONE, SIZE, seed=3)
    assert np.array_equal(program.rows, again.rows)
    page = program.rows >> np.uint64(32)
    assert page.max() < program.n_pages == info.pages == 1024
    run_length = (program.rows >> np.uint64(1)) & np.uint64((1 << 31) - 1)
    assert info.accesses == int(run_length.sum()) == BURST * info.rows
    assert len(program.loader) == 1024, "all of it is populated"


def test_each_vcpu_has_memory_of_its_own_unless_they_overlap() -> None:
    program, _ = workload("hot_set", TWO, SIZE)
    (a, n, _), (b, m, _) = program.starts(2, 0.5)
    first, second = program.rows[a : a + n] >> 32, program.rows[b : b + m] >> 32
    assert first.max() < 1024 <= second.min()
    shared, info = workload("hot_set", TWO, SIZE, overlap=True)
    assert shared.parts == ()
    assert info.pages == 1024


def test_zipf_has_few_hot_pages_all_over_the_place() -> None:
    program, _ = workload("zipf", ONE, SIZE)
    counts = np.bincount((program.rows >> np.uint64(32)).astype(np.int64), minlength=1024)
    hottest = np.argsort(counts)[-102:]
    assert 0.6 < counts[hottest].sum() / counts.sum() < 0.8
    assert 300 < hottest.mean() < 724


@pytest.mark.parametrize("name", ["access_tracking", "mmu_stress"])
def test_selftests_run(name: str) -> None:
    program, info = workload(name, TWO, SIZE)
    spec = RunSpec(paths=("lockless",), rounds=1, duration_s=0.6)
    result = run_program(program, info, TWO, spec)
    assert not result.wrong
    assert result.paths[0]["guest_accesses_per_s"] > 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="access_tracking"):
        workload("nonsense", ONE, SIZE)
    with pytest.raises(UsageError, match="bytes a vCPU"):
        workload("scan", ONE, 4096)
    with pytest.raises(LimitError):
        workload("zipf", ONE, 1 << 36, memory_bytes=1 << 30)
