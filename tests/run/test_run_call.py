"""The documented Python call: typed results that make sense."""

from __future__ import annotations

import time

import pytest
from run_traces import hot_and_cold, trace_of

from mkold.base.errors import InputError, UsageError
from mkold.run import PATHS, MachineSpec, RunSpec, run
from mkold.run.sizes import frames_for
from mkold.trace.schema import MAX_RUN

SHORT = RunSpec(rounds=1, duration_s=0.8)


@pytest.mark.parametrize(
    ("page_size", "clear"),
    [("4k", "pte_xchg"), pytest.param("64k", "radix_update_pte", marks=pytest.mark.slow)],
)
def test_all_paths_replay_correctly_under_pressure(page_size: str, clear: str) -> None:
    n_pages = 1000 if page_size == "4k" else 4000
    machine = MachineSpec(
        memory_share=0.5, interval_s=0.01, page_size=page_size, clear=clear,
        swap_latency_us=5.0,
    )  # fmt: skip
    result = run(hot_and_cold(n_pages), machine, spec=SHORT)
    assert [path.path for path in result.paths] == list(PATHS)
    assert not result.wrong
    assert not result.interrupted
    assert result.frames == frames_for(result.pages, 0.5) < result.pages
    for path in result.paths:
        assert path["guest_accesses_per_s"] > 0
        # A fault brings one page in; one that met an invalidation may do so twice, and the
        # edges of a round cut through a fault of each vCPU.
        assert path["faults"] >= 0.99 * path["refaults"] > 0
        assert path["evicted"] > 0
        assert 0 <= path["lock_wait_share"] <= 1


def test_aging_is_measured_where_there_is_any() -> None:
    machine = MachineSpec(memory_share=0.5, interval_s=0.01)
    result = run(hot_and_cold(), machine, spec=SHORT, paths=("lockless", "none"))
    aged, blind = result.path("lockless"), result.path("none")
    assert aged["aging_passes"] >= 3
    assert aged["aging_ns_per_pte"] > 0
    assert 0 < aged["young_seen_share"] <= 1
    assert blind["aging_passes"] == 0
    with pytest.raises(KeyError):
        blind["aging_ns_per_pte"]


def test_a_guest_that_fits_never_loses_a_page() -> None:
    result = run(hot_and_cold(), MachineSpec(memory_share=1.0), spec=SHORT)
    assert all(path["evicted"] == path["refaults"] == 0 for path in result.paths)
    last = result.path("lockless").rounds[0].generations[-1]
    assert sum(last.pages) == result.pages
    assert last.evicted == 0


def test_several_vcpus_share_the_guest() -> None:
    machine = MachineSpec(vcpus=3, memory_share=0.6, swap_latency_us=1.0)
    result = run(hot_and_cold(), machine, spec=SHORT, paths=("lockless",))
    assert not result.wrong
    assert result.paths[0]["guest_accesses_per_s"] > 0


def test_json_has_the_promised_fields() -> None:
    body = run(hot_and_cold(), MachineSpec(), spec=SHORT, paths=("locked",)).to_json()
    promised = {
        "path", "guest_accesses_per_s", "aging_passes", "aging_ns_per_pte", "aging_pass_ms",
        "aging_core_share", "lock_wait_share", "faults", "fault_p99_us", "refaults",
        "young_seen_share",
    }  # fmt: skip
    assert promised <= set(body["paths"][0])
    assert body["trace"]["pages"] == 1000
    assert body["machine"]["memory_share"] == 0.7
    assert body["times_through"] > 0


def test_paths_do_the_same_work_and_a_path_can_meet_itself() -> None:
    spec = RunSpec(paths=("locked", "lockless", "locked"), rounds=4, duration_s=1.6)
    result = run(hot_and_cold(), MachineSpec(memory_share=0.6), spec=spec)
    assert [path.path for path in result.paths] == ["locked", "lockless", "locked #2"]
    done = {r.accesses for path in result.paths for r in path.rounds}
    assert done == {result.accesses}, "to the access"
    by_pair = {(c.path, c.base): c for c in result.compared("guest_accesses_per_s")}
    again = by_pair["locked #2", "locked"]
    assert again.low is not None
    assert again.high is not None
    assert again.low <= again.ratio <= again.high
    columns = [result.path(name)["guest_accesses_per_s"] for name in ("lockless", "locked")]
    assert by_pair["lockless", "locked"].ratio == pytest.approx(columns[0] / columns[1])


def test_every_fault_is_in_the_histogram() -> None:
    result = run(hot_and_cold(), MachineSpec(memory_share=0.5), spec=SHORT, paths=("none",))
    (measured,) = result.paths[0].rounds
    assert sum(n for _, n in measured.fault_ns) >= measured.faults > 0
    longest = result.paths[0]["fault_max_us"]
    assert 50 <= result.paths[0]["fault_p99_us"] <= longest, "swap alone takes 50 us"


@pytest.mark.slow
def test_a_tlb_that_is_never_emptied_hides_a_small_guest() -> None:
    def seen(switch_interval_s: float) -> float:
        machine = MachineSpec(
            memory_share=1.0, interval_s=0.01, switch_interval_s=switch_interval_s
        )
        found = run(hot_and_cold(500), machine, spec=SHORT, paths=("lockless",))
        return found.paths[0]["young_seen_share"]

    assert seen(0.0) < 0.5 < 0.9 < seen(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("vcpus", [9, 20])
def test_more_vcpus_than_a_line_has_words(vcpus: int) -> None:
    machine = MachineSpec(vcpus=vcpus, memory_share=0.8, swap_latency_us=1.0)
    result = run(hot_and_cold(), machine, spec=SHORT, paths=("lockless",))
    assert not result.wrong
    assert any("share" in sentence for sentence in result.spoiled)


@pytest.mark.parametrize(
    "machine",
    [
        MachineSpec(vcpus=0),
        MachineSpec(vcpus=63),
        MachineSpec(tlb_entries=1000),
        MachineSpec(switch_interval_s=-1.0),
        MachineSpec(memory_share=0.0),
        MachineSpec(memory_share=float("nan")),
        MachineSpec(interval_s=-1.0),
        MachineSpec(interval_s=float("nan")),
        MachineSpec(page_size="2M"),
        MachineSpec(clear="both"),
        MachineSpec(variant="no_such"),
        MachineSpec(swap_latency_us=-1.0),
    ],
)
def test_senseless_machines_are_refused(machine: MachineSpec) -> None:
    with pytest.raises(UsageError):
        run(trace_of([0, 1], [1, 1]), machine, spec=SHORT)


@pytest.mark.parametrize("paths", [(), ("fast",), ("none",) * 17])
def test_senseless_paths_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        run(trace_of([0, 1], [1, 1]), spec=SHORT, paths=paths)


def test_a_tiny_trace_runs() -> None:
    result = run(trace_of([0, 1], [0, 1]), MachineSpec(), spec=SHORT, paths=("lockless",))
    assert not result.wrong


@pytest.mark.slow
@pytest.mark.parametrize("write", [0, 1])
def test_one_run_of_two_thousand_million_accesses_stops(write: int) -> None:
    trace = trace_of([0, 1], [write, 1], [MAX_RUN, 1])
    began = time.perf_counter()
    spec = RunSpec(paths=("lockless",), rounds=1, duration_s=0.5)
    result = run(trace, MachineSpec(vcpus=1), spec=spec)
    assert time.perf_counter() - began < 20
    (path,) = result.paths
    assert path.rounds[0].accesses > 0
    assert path["young_true"] > 0  # touched again after each count
    assert not result.wrong


def test_a_longer_run_is_refused() -> None:
    with pytest.raises(InputError, match="a run of more than"):
        trace_of([0], [0], [MAX_RUN + 1]).check()
