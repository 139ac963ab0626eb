"""HVLOCK: the hypervisor's lock on one HPTE, a bit of its word V.

Rules
-----
* It guards V, R and ``guest_rpte``. The hardware, which takes no lock, reads all of V and R
  and writes the bytes of R and C.
* ``try_lock_hpte`` tries once and fails if any of the bits that it is given is set, or if the
  word changed meanwhile. An acquire if it succeeds.
* ``unlock_hpte`` is a release. ``__unlock_hpte`` is a bare store, for callers that come from a
  barrier and have changed nothing since. The kernel uses it in aging and unmapping too, which
  have: ``HPT_BARE_UNLOCK``.
* Who holds an rmap lock may only try.

Source: arch/powerpc/include/asm/kvm_book3s_64.h.
Known limits: holders can be preempted here; in the kernel preemption is off.
"""

from __future__ import annotations

from mkold.kvm.powerpc.hash.hpte import HPTE_V_HVLOCK
from mkold.lang import (
    READ_ONCE,
    VAL,
    WRITE_ONCE,
    Ptr,
    kernel,
    parameter,
    smp_cond_load_relaxed,
    smp_store_release,
    try_cmpxchg_acquire,
    u64,
)

# 1: aging and unmapping let go of an HPTE with no barrier, as in the kernel.
HPT_BARE_UNLOCK = parameter("HPT_BARE_UNLOCK", 0)


@kernel
def try_lock_hpte(hpte: Ptr[u64], bits: u64) -> u64:
    """Take the lock if none of ``bits`` is set; 1 if taken."""
    v = READ_ONCE(hpte[0])
    if v & bits:
        return 0
    ok, _seen = try_cmpxchg_acquire(hpte[0], v, v | HPTE_V_HVLOCK)
    return ok


@kernel
def wait_hpte(hpte: Ptr[u64]) -> None:
    """Until nobody holds the lock: for who gave up a lock of its own to avoid a deadlock."""
    smp_cond_load_relaxed(hpte[0], not VAL & HPTE_V_HVLOCK)


@kernel
def lock_hpte(hpte: Ptr[u64]) -> None:
    """Take the lock."""
    while not try_lock_hpte(hpte, HPTE_V_HVLOCK):
        wait_hpte(hpte)


@kernel
def unlock_hpte(hpte: Ptr[u64], v: u64) -> None:
    """Let go, leaving ``v``: a release."""
    smp_store_release(hpte[0], v & ~HPTE_V_HVLOCK)


@kernel
def __unlock_hpte(hpte: Ptr[u64], v: u64) -> None:
    """Let go, leaving ``v``, with no barrier."""
    WRITE_ONCE(hpte[0], v & ~HPTE_V_HVLOCK)


@kernel
def unlock_after_update(hpte: Ptr[u64]) -> None:
    """Let go, leaving V as it is, after a change of ``guest_rpte``."""
    v = READ_ONCE(hpte[0])
    if HPT_BARE_UNLOCK:
        __unlock_hpte(hpte, v)
    else:
        unlock_hpte(hpte, v)
