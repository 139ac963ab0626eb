"""Seeded faults of the engines: does the differential campaign notice each?

    python bench/engine_mutation.py [WORD] [--n 400] [--seed 1]

A fault is one piece of an engine's source in place of another, put there as the module is
imported, in a process of its own. Programs of both kinds are compared in turn until one
differs, those made by hand first. With WORD only the faults whose line holds it. The table of
today, and why some are not caught: docs/differential.md.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType

from campaign.faults import FAULTS, Fault

PACKAGE = "mkold.lkmm."


class Faulty(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module with a fault in it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.path = ""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != PACKAGE + self.fault.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        assert found is not None
        self.path = str(found.origin)
        return importlib.machinery.ModuleSpec(name, self, origin=self.path)

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        return faulty_text(self.fault, Path(str(path)).read_text()).encode()

    def path_stats(self, path: str | bytes) -> dict[str, object]:
        raise OSError  # so that no byte code is read or left


def faulty_text(fault: Fault, text: str) -> str:
    """The module's source with the fault.

    Raises
    ------
    AssertionError : what the fault replaces is not there just once
    """
    assert text.count(fault.old) == 1, f"{fault.name}: {text.count(fault.old)} places"
    return text.replace(fault.old, fault.new)


def hunt(fault: Fault, seed: int, n: int) -> str:
    """In this process: how many programs until one differs, and what; empty: none."""
    sys.meta_path.insert(0, Faulty(fault))
    from campaign.compare import compare
    from campaign.known import KNOWN, known
    from campaign.sample import Sample, sample
    from campaign.themes import KINDS
    from mkold.base.errors import InputError

    def differs(make: Callable[[], Sample], *, patient: bool = False) -> str:
        try:
            found = compare(make(), patient=patient).differences
        except InputError:
            return ""
        except Exception as error:  # an engine that breaks down is noticed too
            return type(error).__name__
        return found[0].split(":")[0] if found else ""

    for number, kind in product(range(len(KNOWN)), KINDS):
        what = differs(partial(known, kind, number), patient=True)
        if what:
            return f"known {number + 1} | {what}"
    for number, kind in product(range(n), KINDS):
        what = differs(partial(sample, kind, seed, number))
        if what:
            return f"{number + 1} | {what}"
    return ""


def main() -> int:
    """A row for each fault; 1 if one was not caught that should be."""
    parser = argparse.ArgumentParser(description="Does the campaign notice seeded faults?")
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(hunt(next(f for f in FAULTS if f.name == given.one), given.seed, given.n))
        return 0
    print("| fault | in | programs of each kind | what differs |\n| --- | --- | ---: | --- |")
    missed, began = 0, time.monotonic()
    chosen = [fault for fault in FAULTS if given.word in f"{fault.name} {fault.module}"]
    for fault in chosen:
        run = [sys.executable, __file__, "--one", fault.name, "--n", str(given.n),
               "--seed", str(given.seed)]  # fmt: skip
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        caught = done.stdout.strip()
        if done.returncode:
            caught = f"1 | {done.stderr.strip().splitlines()[-1][:60]}"
        missed += not caught and not fault.harmless
        said = caught or f"not in {given.n} | {fault.harmless or 'NOT CAUGHT'}"
        print(f"| {fault.name} | {fault.module} | {said} |", flush=True)
    print(f"\n{len(chosen)} faults, {missed} not caught, {time.monotonic() - began:.0f} s")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
