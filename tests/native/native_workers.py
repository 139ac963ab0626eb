"""Runs native functions side by side, one thread of Python for each."""

from concurrent.futures import ThreadPoolExecutor

from mkold.native import Image, Memory

Job = tuple[str, tuple[int, ...]]


def run(image: Image, memory: Memory, jobs: list[Job]) -> list:
    """The result of each job; job ``i`` runs as CPU ``i``."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [
            pool.submit(image.call, name, memory, cpu, *args)
            for cpu, (name, args) in enumerate(jobs)
        ]
        return [future.result() for future in futures]
