"""One idiom a row: the outcome the model gives, and, if forbidden, by which axiom."""

from __future__ import annotations

from itertools import pairwise

import pytest
from small import program

from mkold.lkmm import Axiom, Observation, decide

NEVER, SOMETIMES = Observation.NEVER, Observation.SOMETIMES

MP = "WRITE_ONCE(x, 1); {0}; WRITE_ONCE(y, 1)", "r1 = READ_ONCE(y); {1}; r2 = READ_ONCE(x)"
MP_ASKED = "1:r1=1 1:r2=0"
SB = "WRITE_ONCE(x, 1); {0}; r1 = READ_ONCE(y)", "WRITE_ONCE(y, 1); {1}; r1 = READ_ONCE(x)"
SB_ASKED = "0:r1=0 1:r1=0"
LB = "r1 = READ_ONCE(x); {0}", "r1 = READ_ONCE(y); {1}"
LB_ASKED = "0:r1=1 1:r1=1"
W_Y, W_X = "WRITE_ONCE(y, 1)", "WRITE_ONCE(x, 1)"


def _fill(shape: tuple[str, ...], *parts: str) -> tuple[str, ...]:
    return tuple(text.format(*parts) for text in shape)


ROWS = [
    ("MP", _fill(MP, "", ""), MP_ASKED, SOMETIMES, None),
    ("MP+wmb", _fill(MP, "smp_wmb()", ""), MP_ASKED, SOMETIMES, None),
    ("MP+rmb", _fill(MP, "", "smp_rmb()"), MP_ASKED, SOMETIMES, None),
    ("MP+wmb+rmb", _fill(MP, "smp_wmb()", "smp_rmb()"), MP_ASKED, NEVER,
     Axiom.HAPPENS_BEFORE),
    ("MP+wmb+wmb", _fill(MP, "smp_wmb()", "smp_wmb()"), MP_ASKED, SOMETIMES, None),
    ("MP+barriers", _fill(MP, "barrier()", "barrier()"), MP_ASKED, SOMETIMES, None),
    ("MP+rel+acq",
     ("WRITE_ONCE(x, 1); smp_store_release(y, 1)",
      "r1 = smp_load_acquire(y); r2 = READ_ONCE(x)"), MP_ASKED, NEVER, Axiom.HAPPENS_BEFORE),
    ("MP+addr", ("WRITE_ONCE(x, 1); smp_wmb(); WRITE_ONCE(y, x)",
                 "r1 = rcu_dereference(y); r2 = READ_ONCE(r1)"),
     "1:r1=x 1:r2=0", NEVER, Axiom.HAPPENS_BEFORE),
    ("SB", _fill(SB, "", ""), SB_ASKED, SOMETIMES, None),
    ("SB+mb", _fill(SB, "smp_mb()", ""), SB_ASKED, SOMETIMES, None),
    ("SB+mbs", _fill(SB, "smp_mb()", "smp_mb()"), SB_ASKED, NEVER, Axiom.PROPAGATION),
    ("SB+wmbs", _fill(SB, "smp_wmb()", "smp_wmb()"), SB_ASKED, SOMETIMES, None),
    ("SB+gps", _fill(SB, "synchronize_rcu()", "synchronize_rcu()"), SB_ASKED, NEVER,
     Axiom.PROPAGATION),
    ("SB+store_mb", ("smp_store_mb(x, 1); r1 = READ_ONCE(y)",
                     "smp_store_mb(y, 1); r1 = READ_ONCE(x)"), SB_ASKED, NEVER,
     Axiom.PROPAGATION),
    ("LB", _fill(LB, W_Y, W_X), LB_ASKED, SOMETIMES, None),
    ("LB+data", _fill(LB, "WRITE_ONCE(y, r1)", "WRITE_ONCE(x, r1)"), LB_ASKED, NEVER, None),
    ("LB+ctrls", _fill(LB, f"if r1: {W_Y}", f"if r1: {W_X}"), LB_ASKED, NEVER, None),
    ("LB+ctrl+mb", _fill(LB, f"if r1: {W_Y}", f"smp_mb(); {W_X}"), LB_ASKED, NEVER, None),
    ("LB+ctrl-after+mb", _fill(LB, f"if r1: r2 = READ_ONCE(z); {W_Y}", f"smp_mb(); {W_X}"),
     LB_ASKED, SOMETIMES, None),
    ("CoRR", ("WRITE_ONCE(x, 1)", "r1 = READ_ONCE(x); r2 = READ_ONCE(x)"), MP_ASKED, NEVER,
     Axiom.COHERENCE),
    ("CoWW", ("WRITE_ONCE(x, 1); WRITE_ONCE(x, 2)",), "x=1", NEVER, Axiom.COHERENCE),
    ("CoRW", ("r1 = READ_ONCE(x); WRITE_ONCE(x, 1)",), "0:r1=1", NEVER, Axiom.COHERENCE),
    ("RMW is not torn", ("r1 = xchg_relaxed(x, 1)", "WRITE_ONCE(x, 2)"), "0:r1=0 x=1",
     NEVER, Axiom.ATOMIC),
    ("increments are not torn",
     ("r1 = atomic_fetch_add_relaxed(x, 1)", "r1 = atomic_fetch_add_relaxed(x, 1)"),
     "0:r1=0 1:r1=0", NEVER, Axiom.ATOMIC),
    ("2+2W", ("WRITE_ONCE(x, 1); WRITE_ONCE(y, 2)", "WRITE_ONCE(y, 1); WRITE_ONCE(x, 2)"),
     "x=1 y=1", SOMETIMES, None),
    ("2+2W+wmbs", ("WRITE_ONCE(x, 1); smp_wmb(); WRITE_ONCE(y, 2)",
                   "WRITE_ONCE(y, 1); smp_wmb(); WRITE_ONCE(x, 2)"), "x=1 y=1",
     SOMETIMES, None),
    ("2+2W+mbs", ("WRITE_ONCE(x, 1); smp_mb(); WRITE_ONCE(y, 2)",
                  "WRITE_ONCE(y, 1); smp_mb(); WRITE_ONCE(x, 2)"), "x=1 y=1", NEVER,
     Axiom.PROPAGATION),
    ("WRC+rel", ("WRITE_ONCE(x, 1)", "r1 = READ_ONCE(x); smp_store_release(y, 1)",
                 "r1 = READ_ONCE(y); smp_rmb(); r2 = READ_ONCE(x)"),
     "1:r1=1 2:r1=1 2:r2=0", NEVER, Axiom.HAPPENS_BEFORE),
    ("WRC+wmb is no help",
     ("WRITE_ONCE(x, 1)", "r1 = READ_ONCE(x); smp_wmb(); WRITE_ONCE(y, 1)",
      "r1 = READ_ONCE(y); smp_rmb(); r2 = READ_ONCE(x)"),
     "1:r1=1 2:r1=1 2:r2=0", SOMETIMES, None),
    ("IRIW+rmbs", ("WRITE_ONCE(x, 1)", "WRITE_ONCE(y, 1)",
                   "r1 = READ_ONCE(x); smp_rmb(); r2 = READ_ONCE(y)",
                   "r1 = READ_ONCE(y); smp_rmb(); r2 = READ_ONCE(x)"),
     "2:r1=1 2:r2=0 3:r1=1 3:r2=0", SOMETIMES, None),
    ("IRIW+mbs", ("WRITE_ONCE(x, 1)", "WRITE_ONCE(y, 1)",
                  "r1 = READ_ONCE(x); smp_mb(); r2 = READ_ONCE(y)",
                  "r1 = READ_ONCE(y); smp_mb(); r2 = READ_ONCE(x)"),
     "2:r1=1 2:r2=0 3:r1=1 3:r2=0", NEVER, Axiom.PROPAGATION),
    ("MP+sync+rcu", ("WRITE_ONCE(x, 1); synchronize_rcu(); WRITE_ONCE(y, 1)",
                     "rcu_read_lock(); r1 = READ_ONCE(y); r2 = READ_ONCE(x);"
                     "rcu_read_unlock()"), MP_ASKED, NEVER, Axiom.RCU),
    ("MP+sync, no reader", ("WRITE_ONCE(x, 1); synchronize_rcu(); WRITE_ONCE(y, 1)",
                            "r1 = READ_ONCE(y); r2 = READ_ONCE(x)"),
     MP_ASKED, SOMETIMES, None),
    ("RCU, one GP and two readers",
     ("WRITE_ONCE(x, 1); synchronize_rcu(); r1 = READ_ONCE(y)",
      "rcu_read_lock(); WRITE_ONCE(y, 1); r1 = READ_ONCE(z); rcu_read_unlock()",
      "rcu_read_lock(); WRITE_ONCE(z, 1); r1 = READ_ONCE(x); rcu_read_unlock()"),
     "0:r1=0 1:r1=0 2:r1=0", SOMETIMES, None),
    ("RCU, two GPs and two readers",
     ("WRITE_ONCE(x, 1); synchronize_rcu(); synchronize_rcu(); r1 = READ_ONCE(y)",
      "rcu_read_lock(); WRITE_ONCE(y, 1); r1 = READ_ONCE(z); rcu_read_unlock()",
      "rcu_read_lock(); WRITE_ONCE(z, 1); r1 = READ_ONCE(x); rcu_read_unlock()"),
     "0:r1=0 1:r1=0 2:r1=0", NEVER, Axiom.RCU),
    ("SRCU, same struct",
     ("WRITE_ONCE(x, 1); synchronize_srcu(s); WRITE_ONCE(y, 1)",
      "r3 = srcu_read_lock(s); r1 = READ_ONCE(y); r2 = READ_ONCE(x);"
      "srcu_read_unlock(s, r3)"), MP_ASKED, NEVER, Axiom.RCU),
    ("SRCU, another struct",
     ("WRITE_ONCE(x, 1); synchronize_srcu(s); WRITE_ONCE(y, 1)",
      "r3 = srcu_read_lock(t); r1 = READ_ONCE(y); r2 = READ_ONCE(x);"
      "srcu_read_unlock(t, r3)"), MP_ASKED, SOMETIMES, None),
    ("MP+locks", ("spin_lock(l); WRITE_ONCE(x, 1); WRITE_ONCE(y, 1); spin_unlock(l)",
                  "spin_lock(l); r1 = READ_ONCE(y); r2 = READ_ONCE(x); spin_unlock(l)"),
     MP_ASKED, NEVER, None),
    ("MP+unlock-lock on one CPU",
     ("spin_lock(l); WRITE_ONCE(x, 1); spin_unlock(l);"
      "spin_lock(m); WRITE_ONCE(y, 1); spin_unlock(m)",
      "r1 = READ_ONCE(y); smp_rmb(); r2 = READ_ONCE(x)"), MP_ASKED, NEVER,
     Axiom.HAPPENS_BEFORE),
    ("SB+after_spinlock",
     ("WRITE_ONCE(x, 1); spin_lock(l); smp_mb__after_spinlock(); r1 = READ_ONCE(y);"
      "spin_unlock(l)", "WRITE_ONCE(y, 1); smp_mb(); r1 = READ_ONCE(x)"), SB_ASKED, NEVER,
     Axiom.PROPAGATION),
    ("SB+lock alone",
     ("WRITE_ONCE(x, 1); spin_lock(l); r1 = READ_ONCE(y); spin_unlock(l)",
      "WRITE_ONCE(y, 1); smp_mb(); r1 = READ_ONCE(x)"), SB_ASKED, SOMETIMES, None),
    ("SB+rwlock alone",
     ("WRITE_ONCE(x, 1); read_lock(l); r1 = READ_ONCE(y); read_unlock(l)",
      "WRITE_ONCE(y, 1); smp_mb(); r1 = READ_ONCE(x)"), SB_ASKED, SOMETIMES, None),
    ("writers exclude readers",
     ("write_lock(l); WRITE_ONCE(x, 1); WRITE_ONCE(x, 0); write_unlock(l)",
      "read_lock(l); r1 = READ_ONCE(x); read_unlock(l)"), "1:r1=1", NEVER, None),
    ("readers do not exclude readers",
     ("read_lock(l); WRITE_ONCE(x, 1); WRITE_ONCE(x, 0); read_unlock(l)",
      "read_lock(l); r1 = READ_ONCE(x); read_unlock(l)"), "1:r1=1", SOMETIMES, None),
    ("a read of one's own dependent store is ordered",
     ("r1 = READ_ONCE(x); WRITE_ONCE(z, r1); r2 = smp_load_acquire(z); WRITE_ONCE(y, 1)",
      "r1 = READ_ONCE(y); smp_mb(); WRITE_ONCE(x, 1)"), "0:r1=1 0:r2=1 1:r1=1", NEVER,
     Axiom.HAPPENS_BEFORE),
    ("a release is handed on by increments",
     ("WRITE_ONCE(x, 1); smp_store_release(y, 1)", "atomic_inc(y)", "atomic_inc(y)",
      "r1 = smp_load_acquire(y); r2 = READ_ONCE(x)"), "3:r1=3 3:r2=0", NEVER,
     Axiom.HAPPENS_BEFORE),
    ("a release is not handed on by a store",
     ("WRITE_ONCE(x, 1); smp_store_release(y, 1)", "r1 = READ_ONCE(y); WRITE_ONCE(y, 3)",
      "r1 = smp_load_acquire(y); r2 = READ_ONCE(x)"), "1:r1=1 2:r1=3 2:r2=0", SOMETIMES, None),
    ("trylock fails only against a holder", ("r1 = spin_trylock(l)",), "0:r1=0", NEVER, None),
    ("two trylocks, both succeed", ("r1 = spin_trylock(l)", "r1 = spin_trylock(l)"),
     "0:r1=1 1:r1=1", NEVER, None),
    ("two trylocks, one fails", ("r1 = spin_trylock(l)", "r1 = spin_trylock(l)"),
     "0:r1=1 1:r1=0", SOMETIMES, None),
    ("is_locked sees a holder", ("spin_lock(l)", "r1 = spin_is_locked(l)"), "1:r1=1",
     SOMETIMES, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("threads", "asked", "observation", "axiom"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_outcome(
    threads: tuple[str, ...], asked: str, observation: Observation, axiom: Axiom | None
) -> None:
    made = program(*threads, exists=asked)
    full, quick = decide(made), decide(made, states=False, witness=True)
    assert full.observation is observation
    assert quick.observation is observation
    assert full.holds is (observation is not NEVER)
    if axiom is not None:
        assert quick.forbidden is not None
        cycle = quick.forbidden.cycle
        assert cycle is not None
        assert cycle.axiom is axiom
        ends = [edge.target for edge in cycle.edges]
        starts = [edge.source for edge in cycle.edges]
        assert ends == starts[1:] + starts[:1]  # a closed path
        if axiom is not Axiom.PLAIN_COHERENCE:
            assert cycle.parts
            for edge, following in pairwise((*cycle.parts, cycle.parts[0])):
                assert edge.target == following.source
    elif observation is SOMETIMES:
        assert quick.witness is not None
