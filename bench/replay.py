"""Replay: trace accesses per second of one vCPU when all memory is resident.

    PYTHONPATH=src python bench/replay.py [TRACE ...] [--seconds 1] [--rounds 5] [--json]

One vCPU replays the trace over and over, alone, no aging thread beside it; the first time
through brings everything into memory and is not counted. Each access is performed: request
word, TLB, a load or store of the frame, a comparison on loads. Seconds are CPU time of the
vCPU's thread, so that other programs disturb little. To reach: 30 million a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass

from mkold.native import Memory
from mkold.run import MachineSpec
from mkold.run.clock import cycles_per_second
from mkold.run.image import machine_image
from mkold.run.machine import Machine
from mkold.run.program import pack
from mkold.trace import find_trace, read_trace, shipped

GOAL = 30e6


@dataclass(frozen=True, slots=True)
class Replay:
    """One trace: ``rates`` are accesses per second of CPU time, by round."""

    trace: str
    page_size: str
    rates: list[float]
    accesses_per_row: float
    tlb_miss_share: float

    @property
    def median(self) -> float:
        """The figure to compare with the goal."""
        return statistics.median(self.rates)


def measure(name: str, page_size: str, seconds: float, rounds: int) -> Replay:
    """Replay trace ``name`` for about ``seconds`` a round."""
    trace = read_trace(find_trace(name))
    spec = MachineSpec(memory_share=1.0, page_size=page_size, switch_interval_s=0.0)
    program = pack(trace, spec.page_shift)
    n_rows, once = len(program.rows), trace.n_accesses
    image = machine_image(spec)
    rate = cycles_per_second(image, Memory(1 << 16))
    machine = Machine(image, program, spec, "none", rate)
    guest, vcpu, memory = machine.guests[0], machine.vcpus[0], machine.memory
    image.call("replay", memory, 0, guest.at, once)
    step = max(1, once // 4)
    rates = []
    first, misses = guest["accesses"], vcpu["stat.tlb_misses"]
    for _ in range(rounds):
        began, before = time.thread_time(), guest["accesses"]
        while time.thread_time() - began < seconds:
            image.call("replay", memory, 0, guest.at, step)
        rates.append((guest["accesses"] - before) / (time.thread_time() - began))
    done = guest["accesses"] - first
    assert guest["mismatches"] == 0
    return Replay(
        name, page_size, rates, trace.n_accesses / n_rows,
        (vcpu["stat.tlb_misses"] - misses) / done,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", nargs="*", default=sorted(shipped()))
    parser.add_argument("--page-size", choices=("4k", "64k"), default="4k")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = [measure(t, args.page_size, args.seconds, args.rounds) for t in args.traces]
    if args.json:
        print(json.dumps([asdict(r) | {"median": r.median} for r in found], indent=2))
        return
    print("trace      pages  M accesses/s  lowest  highest  accesses/row  TLB misses")
    for r in found:
        print(
            f"{r.trace:10} {r.page_size:5}  {r.median / 1e6:12.1f}  {min(r.rates) / 1e6:6.1f}"
            f"  {max(r.rates) / 1e6:7.1f}  {r.accesses_per_row:12.1f}"
            f"  {100 * r.tlb_miss_share:8.3f} %"
        )
    print(f"goal: {GOAL / 1e6:.0f} M accesses/s")


if __name__ == "__main__":
    main()
