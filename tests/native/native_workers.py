"""Runs native functions side by side, one thread of Python for each."""

import os
from concurrent.futures import ThreadPoolExecutor

from mkold.native import Image, Memory

Job = tuple[str, tuple[int, ...]]


def run(image: Image, memory: Memory, jobs: list[Job]) -> list:
    """The result of each job; job ``i`` runs as CPU ``i``, on a core of its own if it can."""
    cores = sorted(os.sched_getaffinity(0))

    def call(cpu: int, name: str, args: tuple[int, ...]) -> object:
        os.sched_setaffinity(0, {cores[cpu % len(cores)]})  # this thread only
        return image.call(name, memory, cpu, *args)

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(call, cpu, *job) for cpu, job in enumerate(jobs)]
        return [future.result() for future in futures]
