"""Lockless aging against the hardware and against unmapping, on real threads.

That the checks can fail is shown without threads in ``test_kvm_variants``: on a busy
machine two threads may never meet.
"""

from __future__ import annotations

import threading
from functools import cache

import kvm_races
import pytest
from kvm_machine import BASE, N_GFNS, SMALL, Leaf, Machine, R, W, filled

from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.native import Image, build

ROUNDS = 100_000


@cache
def racing(clear: int) -> Image:
    races = [kvm_races.race_age, kvm_races.race_dirty, kvm_races.race_unmap]
    return build([*BASE, *races], {**SMALL, "CLEAR_YOUNG": clear}, hooks=powerpc.hooks)


def against_aging(machine: Machine, name: str, *args: int) -> int:
    """Result of the loop ``name`` while another thread ages."""
    stop = machine.new(8)
    ager = threading.Thread(
        target=lambda: machine("race_age", machine.kvm, N_GFNS, stop, cpu=1)
    )
    ager.start()
    try:
        result = machine(name, *args, ROUNDS, stop)
    finally:
        machine.words[stop] = 1
        ager.join()
    assert isinstance(result, int)
    return result


@pytest.mark.parametrize("clear", [0, 1])
def test_no_dirty_bit_is_lost(clear: int) -> None:
    machine = filled(Machine(racing(clear)), [Leaf(0, 5, R | W), Leaf(0, 6, R)])
    ptep = machine.leaves()[0, 5]
    lost = against_aging(machine, "race_dirty", machine.kvm, machine.vcpus[0], 5, ptep)
    assert lost == 0


@pytest.mark.parametrize("clear", [0, 1])
def test_no_entry_comes_back_to_life(clear: int) -> None:
    machine = filled(Machine(racing(clear)), [Leaf(0, 5, R | W), Leaf(0, 6, R)])
    ptep = machine.leaves()[0, 5]
    pte = int(machine.words[ptep])
    page = machine.hva + 5
    assert against_aging(machine, "race_unmap", machine.mm, page, ptep, pte) == 0
