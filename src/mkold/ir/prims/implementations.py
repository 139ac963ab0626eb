"""The kernel Python that primitives are natively, by name.

Found when a program is linked, not before: this is the one place where the form knows of
functions that are made of it.
"""

from __future__ import annotations

SPINLOCK = "mkold.sync.spinlock"
RWLOCK = "mkold.sync.rwlock"
RCU = "mkold.sync.rcu"
SRCU = "mkold.sync.srcu"

# Of no row: what ``call_rcu`` is, and what runs the callbacks.
CALL_RCU = f"{RCU}:__call_rcu"
RCU_INVOKE = f"{RCU}:rcu_invoke"
