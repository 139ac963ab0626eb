"""Kernel Python: the language in which everything that touches shared memory is written.

``types``        words, pointers, structs, arrays
``annotations``  reads type annotations
``source``       finds a function's syntax tree; errors that point into the file
``kernel``       ``@kernel``, ``hook``, ``parameter``, what the names stand for
``lower``        checks a function and lowers it to ``mkold.ir`` (with ``frame``, ``values``,
                 ``places``, ``expressions``, ``calls``, ``refuse``)
``text``         kernel Python given as text

Every primitive of ``mkold.ir.prims`` is a name of this module. See docs/kernel-python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON
from mkold.lang.annotations import ARRAY as _ARRAY
from mkold.lang.annotations import PTR as _PTR
from mkold.lang.annotations import TypeName as _TypeName
from mkold.lang.kernel import (
    KernelFunction,
    Primitive,
    Special,
    hook,
    kernel,
    parameter,
)
from mkold.lang.text import compile_text
from mkold.lang.types import Struct
from mkold.lang.types import Word as _Word

if TYPE_CHECKING:
    # Kernel Python's types are checked by ``@kernel`` itself; to a Python type checker a
    # word is anything, and a place in memory has any member.
    from typing import Generic, TypeAlias, TypeVar

    _T = TypeVar("_T")
    _N = TypeVar("_N")

    class Ptr(Generic[_T]):
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...
        def __getitem__(self, index: Any) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __add__(self, n: Any) -> Any: ...
        def __sub__(self, n: Any) -> Any: ...

    Array: Any
    u64: TypeAlias = Any
    spinlock_t: TypeAlias = Any
    rwlock_t: TypeAlias = Any
    atomic_t: TypeAlias = Any
else:
    Ptr = _PTR
    Array = _ARRAY
    u64 = _TypeName(_Word("u64"))
    spinlock_t = _TypeName(_Word("spinlock_t"))
    rwlock_t = _TypeName(_Word("rwlock_t"))
    atomic_t = _TypeName(_Word("atomic_t"))

NULL: Any = Special("NULL")
addr: Any = Special("addr")
cast: Any = Special("cast")
call_rcu: Any = Special("call_rcu")

_PRIMITIVES = {name: Primitive(row) for name, row in PRIMS.items()}
__all__ = [  # and every name in ``mkold.ir.prims.PRIMS``
    "NULL",
    "POISON",
    "Array",
    "KernelFunction",
    "Ptr",
    "Struct",
    "addr",
    "atomic_t",
    "call_rcu",
    "cast",
    "compile_text",
    "hook",
    "kernel",
    "parameter",
    "rwlock_t",
    "spinlock_t",
    "u64",
]


def __getattr__(name: str) -> Any:
    try:
        return _PRIMITIVES[name]
    except KeyError:
        raise AttributeError(f"kernel Python has no {name}") from None
