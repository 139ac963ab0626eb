"""The table of primitives: the only words with which code may touch shared memory.

A row says what a primitive *is* (``shape``, ``order``, ``op``, ``result``); back ends
derive the rest. The model engine turns shape and order into events, the native back end
turns them into an atomic instruction, the simulator into a cost. Locks and RCU have
events of their own under LKMM; natively they are kernel Python (``native`` names it).

Events by shape under LKMM (``R[once]`` etc. as in linux-kernel.bell)::

    LOAD         R[order]                       plain: unmarked R
    STORE        W[order]                       plain: unmarked W
    STORE_MB     W[once]  F[mb]
    XCHG, FETCH  R rmw W      mb: F[mb] R[once] W[once] F[mb]
                              acquire: R[acquire] W[once]; release: R[once] W[release]
                              relaxed: R[once] W[once]; noreturn: R[noreturn] W[once]
    CMPXCHG, TRY_CMPXCHG, UNLESS
                              success as XCHG; failure R[once] alone, for every order
    FENCE        F[op]
    LOCK         LKR rmw LKW (acquire); UNLOCK UL (release); TRYLOCK LKR,LKW or LF
    IS_LOCKED    RL or RU
    READ_LOCK .. no events in LKMM: readers and writers exclude each other, acquire and
                 release as for LOCK
    RCU_LOCK     F[rcu-lock]; RCU_UNLOCK F[rcu-unlock]; SYNC_RCU F[sync-rcu]
    SRCU_LOCK    R[srcu-lock]; SRCU_UNLOCK W[srcu-unlock]; SYNC_SRCU SRCU[sync-srcu]
    POISON       plain W of POISON to each of n words
    LOAD_ANY     n R[once] of consecutive words, in no order among themselves

Sources: tools/memory-model/linux-kernel.{def,bell,cat}, lock.cat,
Documentation/herd-representation.txt; Documentation/atomic_t.txt,
Documentation/atomic_bitops.txt; include/linux/{atomic,rcupdate,srcu}.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Shape(Enum):
    """What a primitive does; arguments in the order given (``a`` is a word address)."""

    LOAD = "load"  # (a) -> value
    STORE = "store"  # (a, value)
    STORE_MB = "store_mb"  # (a, value)
    XCHG = "xchg"  # (a, new) -> old
    CMPXCHG = "cmpxchg"  # (a, expected, new) -> old
    TRY_CMPXCHG = "try_cmpxchg"  # (a, expected, new) -> ok, seen
    FETCH = "fetch"  # (a, operand) -> by `result`
    UNLESS = "unless"  # (a, add, unless) -> by `result`
    LOAD_ANY = "load_any"  # (a, n, mask) -> OR of n words, masked
    FENCE = "fence"  # ()
    LOCK = "lock"  # (a)
    TRYLOCK = "trylock"  # (a) -> ok
    UNLOCK = "unlock"  # (a)
    IS_LOCKED = "is_locked"  # (a) -> bool
    READ_LOCK = "read_lock"  # (a)
    READ_UNLOCK = "read_unlock"  # (a)
    WRITE_LOCK = "write_lock"  # (a)
    WRITE_UNLOCK = "write_unlock"  # (a)
    RCU_LOCK = "rcu_lock"  # ()
    RCU_UNLOCK = "rcu_unlock"  # ()
    SYNC_RCU = "sync_rcu"  # ()
    SRCU_LOCK = "srcu_lock"  # (a) -> index
    SRCU_UNLOCK = "srcu_unlock"  # (a, index)
    SYNC_SRCU = "sync_srcu"  # (a)
    POISON = "poison"  # (a, n)
    BUG_ON = "bug_on"  # (condition)
    BAD_CALL = "bad_call"  # (word): a call through it goes nowhere
    WARN_ON = "warn_on"  # (condition) -> condition
    CPU_RELAX = "cpu_relax"  # ()
    CPU_ID = "cpu_id"  # () -> index of this CPU
    CYCLES = "cycles"  # () -> this CPU's cycle counter; the model sees 0


class Order(Enum):
    """How strongly a memory access is ordered."""

    PLAIN = "plain"
    ONCE = "once"
    ACQUIRE = "acquire"
    RELEASE = "release"
    MB = "mb"
    NORETURN = "noreturn"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Prim:
    """One row.

    ``op``: the arithmetic of a FETCH (a binary operator, or ``andnot``), or a FENCE's
    tag (``mb``, ``rmb``, ``before-atomic`` ...). ``result``: ``old``, ``new``, ``zero``
    (new == 0), ``negative`` (new < 0, signed 64 bit), ``bit`` (the bit was set), ``ok``
    (it happened), or empty. ``operand``: ``arg``, ``one`` (implied 1) or ``bit`` (the
    argument is a bit number). ``native``: ``module:function`` of the kernel Python that
    implements it; empty where machine code follows from the row.
    """

    name: str
    shape: Shape
    order: Order = Order.NONE
    op: str = ""
    result: str = ""
    operand: str = "arg"
    n_args: int = 0
    n_dsts: int = 0
    lvalue: bool = False
    native: str = ""
    source: str = ""


ORDERS = (
    ("", Order.MB),
    ("_relaxed", Order.ONCE),
    ("_acquire", Order.ACQUIRE),
    ("_release", Order.RELEASE),
)
_DEF = "tools/memory-model/linux-kernel.def"


def _accesses() -> list[Prim]:
    def load(name: str, order: Order) -> Prim:
        return Prim(name, Shape.LOAD, order, n_args=1, n_dsts=1, lvalue=True, source=_DEF)

    def store(name: str, order: Order) -> Prim:
        return Prim(name, Shape.STORE, order, n_args=2, lvalue=True, source=_DEF)

    return [
        load("load", Order.PLAIN),
        load("READ_ONCE", Order.ONCE),
        load("rcu_dereference", Order.ONCE),
        load("atomic_read", Order.ONCE),
        load("smp_load_acquire", Order.ACQUIRE),
        load("atomic_read_acquire", Order.ACQUIRE),
        store("store", Order.PLAIN),
        store("WRITE_ONCE", Order.ONCE),
        store("atomic_set", Order.ONCE),
        store("smp_store_release", Order.RELEASE),
        store("rcu_assign_pointer", Order.RELEASE),
        store("atomic_set_release", Order.RELEASE),
        Prim(
            "smp_store_mb",
            Shape.STORE_MB,
            Order.ONCE,
            n_args=2,
            lvalue=True,
            source=_DEF,
        ),
    ]


def _exchanges() -> list[Prim]:
    rows = []
    for suffix, order in ORDERS:
        for prefix in ("", "atomic_"):
            rows += [
                Prim(f"{prefix}xchg{suffix}", Shape.XCHG, order, result="old",
                     n_args=2, n_dsts=1, lvalue=True, source=_DEF),
                Prim(f"{prefix}cmpxchg{suffix}", Shape.CMPXCHG, order, result="old",
                     n_args=3, n_dsts=1, lvalue=True, source=_DEF),
                Prim(f"{prefix}try_cmpxchg{suffix}", Shape.TRY_CMPXCHG, order,
                     n_args=3, n_dsts=2, lvalue=True, source="Documentation/atomic_t.txt"),
            ]  # fmt: skip
        rows += [
            Prim(f"atomic_add_unless{suffix}", Shape.UNLESS, order, op="add", result="ok",
                 n_args=3, n_dsts=1, lvalue=True, source=_DEF),
            Prim(f"atomic_fetch_add_unless{suffix}", Shape.UNLESS, order, op="add",
                 result="old", n_args=3, n_dsts=1, lvalue=True, source=_DEF),
        ]  # fmt: skip
    return rows


def _arithmetic() -> list[Prim]:
    rows = []
    for verb, op, operand in (
        ("add", "add", "arg"), ("sub", "sub", "arg"),
        ("inc", "add", "one"), ("dec", "sub", "one"),
        ("and", "and", "arg"), ("or", "or", "arg"),
        ("xor", "xor", "arg"), ("andnot", "andnot", "arg"),
    ):  # fmt: skip
        n_args = 2 if operand == "arg" else 1

        def row(
            name: str, order: Order, result: str,
            op: str = op, operand: str = operand, n_args: int = n_args,
        ) -> Prim:  # fmt: skip
            return Prim(name, Shape.FETCH, order, op, result, operand, n_args,
                        int(bool(result)), lvalue=True, source=_DEF)  # fmt: skip

        rows.append(row(f"atomic_{verb}", Order.NORETURN, ""))
        for suffix, order in ORDERS:
            rows.append(row(f"atomic_fetch_{verb}{suffix}", order, "old"))
            if op in ("add", "sub"):
                rows.append(row(f"atomic_{verb}_return{suffix}", order, "new"))
        if verb in ("sub", "inc", "dec"):
            rows.append(row(f"atomic_{verb}_and_test", Order.MB, "zero"))
        if verb == "add":
            for suffix, order in ORDERS:
                rows.append(row(f"atomic_add_negative{suffix}", order, "negative"))
    return rows


def _bits() -> list[Prim]:
    source = "Documentation/atomic_bitops.txt"

    def row(name: str, order: Order, op: str, result: str) -> Prim:
        return Prim(name, Shape.FETCH, order, op, result, "bit", 2, int(bool(result)),
                    lvalue=True, source=source)  # fmt: skip

    return [
        row("set_bit", Order.NORETURN, "or", ""),
        row("clear_bit", Order.NORETURN, "andnot", ""),
        row("change_bit", Order.NORETURN, "xor", ""),
        row("clear_bit_unlock", Order.RELEASE, "andnot", ""),
        row("test_and_set_bit", Order.MB, "or", "bit"),
        row("test_and_clear_bit", Order.MB, "andnot", "bit"),
        row("test_and_change_bit", Order.MB, "xor", "bit"),
        row("test_and_set_bit_lock", Order.ACQUIRE, "or", "bit"),
    ]


def _fences() -> list[Prim]:
    tags = {
        "smp_mb": "mb", "smp_rmb": "rmb", "smp_wmb": "wmb", "barrier": "barrier",
        "smp_mb__before_atomic": "before-atomic", "smp_mb__after_atomic": "after-atomic",
        "smp_mb__after_spinlock": "after-spinlock",
        "smp_mb__after_unlock_lock": "after-unlock-lock",
        "smp_mb__after_srcu_read_unlock": "after-srcu-read-unlock",
    }  # fmt: skip
    return [Prim(name, Shape.FENCE, op=tag, source=_DEF) for name, tag in tags.items()]


def _locks() -> list[Prim]:
    def lock(name: str, shape: Shape, native: str, n_dsts: int = 0) -> Prim:
        return Prim(name, shape, result="ok" if n_dsts else "", n_args=1, n_dsts=n_dsts,
                    lvalue=True, native=native,
                    source="tools/memory-model/lock.cat")  # fmt: skip

    spin, rw = "mkold.sync.spinlock", "mkold.sync.rwlock"
    return [
        lock("spin_lock", Shape.LOCK, f"{spin}:queued_spin_lock"),
        lock("spin_trylock", Shape.TRYLOCK, f"{spin}:queued_spin_trylock", 1),
        lock("spin_unlock", Shape.UNLOCK, f"{spin}:queued_spin_unlock"),
        lock("spin_is_locked", Shape.IS_LOCKED, f"{spin}:queued_spin_is_locked", 1),
        lock("read_lock", Shape.READ_LOCK, f"{rw}:queued_read_lock"),
        lock("read_unlock", Shape.READ_UNLOCK, f"{rw}:queued_read_unlock"),
        lock("write_lock", Shape.WRITE_LOCK, f"{rw}:queued_write_lock"),
        lock("write_unlock", Shape.WRITE_UNLOCK, f"{rw}:queued_write_unlock"),
    ]


def _rcu() -> list[Prim]:
    rcu, srcu = "mkold.sync.rcu", "mkold.sync.srcu"
    source = "tools/memory-model/linux-kernel.bell"

    def plain(name: str, shape: Shape, native: str) -> Prim:
        return Prim(name, shape, native=native, source=source)

    def on_struct(name: str, shape: Shape, native: str, n_args: int, n_dsts: int) -> Prim:
        return Prim(name, shape, n_args=n_args, n_dsts=n_dsts, lvalue=True,
                    native=native, source=source)  # fmt: skip

    return [
        plain("rcu_read_lock", Shape.RCU_LOCK, f"{rcu}:__rcu_read_lock"),
        plain("rcu_read_unlock", Shape.RCU_UNLOCK, f"{rcu}:__rcu_read_unlock"),
        plain("synchronize_rcu", Shape.SYNC_RCU, f"{rcu}:__synchronize_rcu"),
        plain("synchronize_rcu_expedited", Shape.SYNC_RCU, f"{rcu}:__synchronize_rcu"),
        on_struct("srcu_read_lock", Shape.SRCU_LOCK, f"{srcu}:__srcu_read_lock", 1, 1),
        on_struct("srcu_read_unlock", Shape.SRCU_UNLOCK, f"{srcu}:__srcu_read_unlock", 2, 0),
        on_struct("srcu_down_read", Shape.SRCU_LOCK, f"{srcu}:__srcu_read_lock", 1, 1),
        on_struct("srcu_up_read", Shape.SRCU_UNLOCK, f"{srcu}:__srcu_read_unlock", 2, 0),
        on_struct("synchronize_srcu", Shape.SYNC_SRCU, f"{srcu}:__synchronize_srcu", 1, 0),
        on_struct("synchronize_srcu_expedited", Shape.SYNC_SRCU,
                  f"{srcu}:__synchronize_srcu", 1, 0),
    ]  # fmt: skip


def _others() -> list[Prim]:
    own = "mkold's own"
    return [
        Prim("READ_ONCE_ANY", Shape.LOAD_ANY, Order.ONCE, result="old", n_args=3, n_dsts=1,
             lvalue=True, source=own + ": n READ_ONCE at once, for vector loads"),
        Prim("poison", Shape.POISON, n_args=2, lvalue=True,
             source="include/linux/poison.h"),
        Prim("BUG_ON", Shape.BUG_ON, n_args=1, source="include/asm-generic/bug.h"),
        Prim("bad_call", Shape.BAD_CALL, n_args=1, source=own + ": a wild function pointer"),
        Prim("WARN_ON_ONCE", Shape.WARN_ON, result="old", n_args=1, n_dsts=1,
             source="include/asm-generic/bug.h"),
        Prim("cpu_relax", Shape.CPU_RELAX, source="Documentation/core-api"),
        Prim("smp_processor_id", Shape.CPU_ID, result="old", n_dsts=1,
             source="include/linux/smp.h"),
        Prim("get_cycles", Shape.CYCLES, result="old", n_dsts=1,
             source="include/asm-generic/timex.h"),
    ]  # fmt: skip


PRIMS: dict[str, Prim] = {
    row.name: row
    for rows in (
        _accesses(), _exchanges(), _arithmetic(), _bits(),
        _fences(), _locks(), _rcu(), _others(),
    )
    for row in rows
}  # fmt: skip
