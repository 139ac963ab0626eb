"""Fences, and RCU, whose markers are fences too.

Sources: tools/memory-model/linux-kernel.{def,bell}, include/linux/{rcupdate,srcu}.h.
"""

from __future__ import annotations

from mkold.ir.prims.implementations import RCU, SRCU
from mkold.ir.prims.row import Gives, Holds, Prim, Shape, Takes

_DEF = "tools/memory-model/linux-kernel.def"
_BELL = "tools/memory-model/linux-kernel.bell"
_TAGS = {
    "smp_mb": "mb", "smp_rmb": "rmb", "smp_wmb": "wmb", "barrier": "barrier",
    "smp_mb__before_atomic": "before-atomic", "smp_mb__after_atomic": "after-atomic",
    "smp_mb__after_spinlock": "after-spinlock",
    "smp_mb__after_unlock_lock": "after-unlock-lock",
    "smp_mb__after_srcu_read_unlock": "after-srcu-read-unlock",
}  # fmt: skip


def _synchronize_rcu(suffix: str) -> Prim:
    return Prim(name=f"synchronize_rcu{suffix}", shape=Shape.FENCE, op="sync-rcu", macro="",
                awaits="rcu", sleeps=True, native=f"{RCU}:__synchronize_rcu",
                source=_BELL)  # fmt: skip


def _synchronize_srcu(suffix: str) -> Prim:
    return Prim(name=f"synchronize_srcu{suffix}", shape=Shape.SYNC_SRCU,
                takes=(Takes.STRUCT,), macro="p", awaits="srcu", sleeps=True,
                native=f"{SRCU}:__synchronize_srcu", source=_BELL)  # fmt: skip


def _srcu_section(lock: str, unlock: str) -> list[Prim]:
    return [
        Prim(name=lock, shape=Shape.SRCU_LOCK, takes=(Takes.STRUCT,), gives=(Gives.WORD,),
             macro="p", ends=unlock, holds=Holds("srcu"), native=f"{SRCU}:__srcu_read_lock",
             source=_BELL),
        Prim(name=unlock, shape=Shape.SRCU_UNLOCK, takes=(Takes.STRUCT, Takes.COOKIE),
             macro="pv", leaves="srcu", native=f"{SRCU}:__srcu_read_unlock", source=_BELL),
    ]  # fmt: skip


ROWS = [
    *(Prim(name=name, shape=Shape.FENCE, op=tag, macro="", source=_DEF)
      for name, tag in _TAGS.items()),
    Prim(name="rcu_read_lock", shape=Shape.FENCE, op="rcu-lock", macro="",
         ends="rcu_read_unlock", holds=Holds("rcu"), native=f"{RCU}:__rcu_read_lock",
         source=_BELL),
    Prim(name="rcu_read_unlock", shape=Shape.FENCE, op="rcu-unlock", macro="", leaves="rcu",
         native=f"{RCU}:__rcu_read_unlock", source=_BELL),
    _synchronize_rcu(""),
    _synchronize_rcu("_expedited"),
    *_srcu_section("srcu_read_lock", "srcu_read_unlock"),
    *_srcu_section("srcu_down_read", "srcu_up_read"),
    _synchronize_srcu(""),
    _synchronize_srcu("_expedited"),
]  # fmt: skip
