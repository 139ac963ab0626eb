"""A small sample of the differential campaign, and of what it rests on (bench/campaign)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from campaign.brute import Brute
from campaign.compare import compare
from campaign.known import HANGS, KNOWN, WAIT, X, known, write
from campaign.random_tree import random_tree
from campaign.render import KernelPython
from campaign.sample import of_tree, sample
from campaign.shrink import shrunk
from campaign.themes import KINDS
from campaign.tree import Body, Tree, Use, uses
from campaign.written_out import written_out
from mkold.ir.nodes import Call, Loop, walk
from mkold.ir.verify import verify
from mkold.lkmm import decide

QUICK, SLOW = 12, 300


def differences(kind: str, seed: int, n: int) -> list[tuple[str, list[str]]]:
    """What differs, by the program's name."""
    made = (sample(kind, seed, number) for number in range(n))
    found = ((one.name, compare(one).differences) for one in made)
    return [(name, some) for name, some in found if some]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_differs(kind: str) -> None:
    assert differences(kind, 1001, QUICK) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_differs_among_many(kind: str) -> None:
    assert differences(kind, 1002, SLOW) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(KNOWN)))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_differs_on_known_programs(kind: str, number: int) -> None:
    assert compare(known(kind, number), patient=True).differences == []


@pytest.mark.parametrize("kind", KINDS)
def test_written_out_programs_have_no_loop_and_no_call(kind: str) -> None:
    for number in range(40):
        made = written_out(sample(kind, 1003, number).program, 2).program
        verify(made.functions)
        for function in made.functions.values():
            assert not any(isinstance(stmt, Loop | Call) for stmt in walk(function.body))


def test_the_same_number_makes_the_same_program() -> None:
    assert sample("kernel", 7, 3).source == sample("kernel", 7, 3).source
    assert sample("kernel", 7, 3).source != sample("kernel", 8, 3).source


def test_programs_have_what_the_campaign_is_for() -> None:
    trees = [random_tree("kernel", str(n)) for n in range(400)]
    source = "".join(KernelPython().text(tree) for tree in trees)
    for word in ("while", "for i", "spin_lock", "rcu_read_lock", "call_rcu", "poison(c", "a[r1",
                 "p1.value", "cmpxchg", "synchronize_srcu", "helper0("):  # fmt: skip
        assert word in source


@pytest.mark.parametrize(("bodies", "hangs"), [row[1:] for row in HANGS],
                         ids=[row[0] for row in HANGS])  # fmt: skip
def test_hangs_one_by_one(bodies: tuple[Body, ...], hangs: bool) -> None:
    made = of_tree("kernel", "hangs", Tree(bodies))
    assert Brute(written_out(made.program, 2)).hangs() is hangs
    assert ("hang" in decide(made.program, engine="sat", max_unroll=3).flags) is hangs


def test_a_shrunk_program_keeps_what_is_asked_for() -> None:
    tree = random_tree("kernel", "shrink")

    def has_fence(tree: Tree) -> bool:
        return any(use.prim == "smp_mb" for body in tree.threads for use in uses(body))

    tree = Tree((*tree.threads, (write(X, 1), Use("smp_mb"), WAIT)))
    assert shrunk(tree, has_fence) == Tree(((Use("smp_mb"),),))
