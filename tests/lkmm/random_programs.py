"""Random programs: what a thread may do, and how many of them a test takes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from small import program

from mkold.ir.program import Program

MARKED = [
    "r1 = READ_ONCE(x)", "r2 = READ_ONCE(y)", "r1 = smp_load_acquire(y)",
    "r2 = READ_ONCE(x)", "WRITE_ONCE(x, 1)", "WRITE_ONCE(y, 2)", "WRITE_ONCE(y, r1)",
    "smp_store_release(x, 2)", "if r1: WRITE_ONCE(x, 3)", "r2 = xchg_relaxed(x, 4)",
    "r2 = cmpxchg(y, 0, 5)", "atomic_inc(x)", "r2 = atomic_fetch_add_release(y, 1)",
]  # fmt: skip
PLAIN = ["r1 = load(x)", "store(x, 1)", "store(y, 1)", "r2 = load(y)"]
FENCES = [
    "smp_mb()", "smp_rmb()", "smp_wmb()", "synchronize_rcu()", "smp_mb__after_atomic()",
    "smp_mb__before_atomic()", "barrier()",
]  # fmt: skip
FREES = [
    "poison(x, 1)", "poison(y, 1)", "unpoison(x, 1)", "unpoison(y, 1)", "WRITE_ONCE(x, 1)",
    "store(y, 1)", "r1 = READ_ONCE(x)", "WRITE_ONCE(y, x)", "r2 = READ_ONCE(y)", "smp_mb()",
    "r1 = READ_ONCE(r2)", "WRITE_ONCE(r2, 1)", "poison(r2, 1)", "r2 = xchg_relaxed(x, y)",
]  # fmt: skip
STRONGER = ["smp_mb()", "smp_rmb()", "smp_wmb()"]
SECTIONS = [
    ("rcu_read_lock()", "rcu_read_unlock()"),
    ("spin_lock(l)", "spin_unlock(l)"),
    ("r3 = srcu_read_lock(s)", "srcu_read_unlock(s, r3)"),
]
OBSERVED = "0:r1 0:r2 1:r1 1:r2 x y"

thread_bodies = st.lists(st.sampled_from(MARKED + PLAIN + FENCES), min_size=1, max_size=3)


@st.composite
def threads(draw: st.DrawFn, *, most: int = 2) -> list[list[str]]:
    made = []
    for _ in range(draw(st.integers(2, most))):
        body = draw(thread_bodies)
        section = draw(st.none() | st.sampled_from(SECTIONS))
        made.append([section[0], *body, section[1]] if section else body)
    return made


def random_program(bodies: list[list[str]]) -> Program:
    return program(*("; ".join(body) for body in bodies), observed=OBSERVED)


common = settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                           HealthCheck.filter_too_much],
)  # fmt: skip
