"""Kernel Python: the language in which everything that touches shared memory is written.

``types``    numbers, pointers, arrays, structs; C's conversions
``meaning``  what statements and expressions mean, without any syntax; for any front end
``python``   Python's syntax on top of it: ``@kernel``, ``Struct``, ``parameter``

This module holds the names to import; every primitive of ``mkold.ir.prims`` is one. See
docs/kernel-python.md.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from mkold.base.errors import InputError
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON
from mkold.lang.python.annotations import ARRAY as _ARRAY
from mkold.lang.python.annotations import FN as _FN
from mkold.lang.python.annotations import PTR as _PTR
from mkold.lang.python.annotations import TypeName as _TypeName
from mkold.lang.python.decorate import hook, kernel
from mkold.lang.python.objects import KernelFunction, Primitive, Special, parameter
from mkold.lang.python.structs import Struct
from mkold.lang.python.text import compile_text
from mkold.lang.types import words as _words

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
    Fn: Any
    u8: TypeAlias = Any
    u16: TypeAlias = Any
    u32: TypeAlias = Any
    u64: TypeAlias = Any
    s8: TypeAlias = Any
    s16: TypeAlias = Any
    s32: TypeAlias = Any
    s64: TypeAlias = Any
    spinlock_t: TypeAlias = Any
    rwlock_t: TypeAlias = Any
    mutex: TypeAlias = Any
    atomic_t: TypeAlias = Any
    atomic64_t: TypeAlias = Any
    atomic_long_t: TypeAlias = Any
else:
    Ptr, Array, Fn = _PTR, _ARRAY, _FN
    u8, u16, u32, u64 = map(_TypeName, (_words.U8, _words.U16, _words.U32, _words.U64))
    s8, s16, s32, s64 = map(_TypeName, (_words.S8, _words.S16, _words.S32, _words.S64))
    spinlock_t = _TypeName(_words.Word("spinlock_t"))
    rwlock_t = _TypeName(_words.Word("rwlock_t"))
    mutex = _TypeName(_words.Word("mutex"))
    atomic_t = _TypeName(_words.Word("atomic_t", 32, True))
    atomic64_t = _TypeName(_words.Word("atomic64_t", 64, True))
    atomic_long_t = _TypeName(_words.Word("atomic_long_t", 64, True))

NULL: Any = Special("NULL")
VAL: Any = Special("VAL")
addr: Any = Special("addr")
byte: Any = Special("byte")
cast: Any = Special("cast")
call_rcu: Any = Special("call_rcu")

_LATE: dict[str, object] = {name: Primitive(row) for name, row in PRIMS.items()}
__all__ = [  # and every name in ``mkold.ir.prims.PRIMS``
    "NULL", "POISON", "VAL", "Array", "Fn", "KernelFunction", "Ptr", "Struct", "addr",
    "atomic64_t", "atomic_long_t", "atomic_t", "byte", "call_rcu", "cast", "compile_text",
    "hook", "kernel", "mutex", "parameter", "rwlock_t", "s8", "s16", "s32", "s64",
    "spinlock_t", "u8", "u16", "u32", "u64",
]  # fmt: skip


class UnknownNameError(InputError):
    """An import of a name that kernel Python does not have; says which it may have been."""


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return _LATE[name]
    if name.startswith("_"):
        raise AttributeError(name)
    near = difflib.get_close_matches(name, [*_LATE, *__all__], 3)
    hint = f"; there are {', '.join(near)}" if near else ""
    raise UnknownNameError(f"kernel Python has no {name}{hint}")
