"""The machine: vCPU threads that replay a trace while the host ages and reclaims memory.

``spec``       what machine, which paths, how long
``guest``      kernel Python: one vCPU's program and its check values
``kswapd``     kernel Python: the host's aging and eviction thread
``program``    a trace as the machine replays it; ``workloads``: guests that are made
``layout``     where everything lies in the machine's memory
``machine``    build, boot, run threads; ``counters``: read what they counted
``session``    one measurement of one path; ``measure``: the paths in turns, equal work
``results``    typed results and their JSON
``figures``    what rounds come to, and which figures compare; ``interval``: how surely
``finding``    what was found, in sentences; ``busy``: what else the host did
``saved``      the least memory that will do; ``steady``: what LRU, clock and MIN would miss
``activity``   what the program touches when; ``sweep``, ``table``: a grid of runs, on disk

The one call::

    from mkold.run import MachineSpec, run
    from mkold.trace import find_trace, read_trace

    result = run(read_trace(find_trace("lookup")), MachineSpec(memory_share=0.6))
    for path in result.paths:
        print(path.path, path["guest_accesses_per_s"], path["refaults"])
"""

from mkold.run.measure import run
from mkold.run.results import PathResult, RunResult
from mkold.run.spec import PATHS, MachineSpec, RunSpec

__all__ = ["PATHS", "MachineSpec", "PathResult", "RunResult", "RunSpec", "run"]
