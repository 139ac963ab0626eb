"""The types of kernel Python: words, pointers, structs and arrays of words.

Rules
-----
* One word is 64 bits; a struct's fields lie one after another, with no padding.
* ``u64``, ``bool``, ``spinlock_t``, ``rwlock_t``, ``atomic_t`` and every pointer are one
  word; ``Array[T, n]`` is ``n`` times ``T``.
* A struct is laid out at first use, so that a field may name a struct defined later.
* ``class B(A)`` begins with all of ``A``; a pointer to it goes where one to ``A`` is wanted.

Known limits: no bit fields (use masks), no unions, one access size.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mkold.base.errors import InputError
from mkold.ir.layout import Field, Layout


@dataclass(frozen=True, slots=True)
class Word:
    """A plain word under one of its names; the name is for people."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Pointer:
    """The address of a ``target``; ``target`` is ``None`` for NULL."""

    target: Type | None

    def __str__(self) -> str:
        return f"Ptr[{self.target}]" if self.target else "NULL"


@dataclass(frozen=True, slots=True)
class Repeat:
    """``n`` elements in a row."""

    element: Type
    n: int

    def __str__(self) -> str:
        return f"Array[{self.element}, {self.n}]"


@dataclass(frozen=True, slots=True)
class Record:
    """A struct, in place."""

    struct: type[Struct]

    def __str__(self) -> str:
        return self.struct.__name__


Type = Word | Pointer | Repeat | Record

U64 = Word("u64")
BOOL = Word("bool")
NULL_TYPE = Pointer(None)


def n_words(type_: Type) -> int:
    """Size of ``type_`` in words."""
    match type_:
        case Repeat(element, n):
            return n_words(element) * n
        case Record(struct):
            return struct.size
        case _:
            return 1


def same(a: Type, b: Type) -> bool:
    """Whether two types are one, whatever name a word goes by."""
    match a, b:
        case Word(), Word():
            return True
        case Pointer(x), Pointer(y):
            return x is not None and y is not None and same(x, y)
        case Repeat(x, n), Repeat(y, m):
            return n == m and same(x, y)
    return a == b


def converts(source: Type, target: Type) -> bool:
    """Whether a value of type ``source`` may go where ``target`` is wanted.

    A pointer is a word, so it goes where a word is wanted; the other way needs ``cast``.
    """
    if isinstance(target, Word):
        return isinstance(source, Word | Pointer)
    if isinstance(source, Pointer) and isinstance(target, Pointer):
        a, b = source.target, target.target
        return a is None or b is None or same(a, b) or begins_with(a, b)
    return False


def begins_with(a: Type, b: Type) -> bool:
    """Whether ``a`` is a struct that begins with the struct ``b``."""
    return isinstance(a, Record) and isinstance(b, Record) and issubclass(a.struct, b.struct)


class _StructMeta(type):
    """Computes ``size`` and ``layout`` when they are first asked for."""

    def __init__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> None:
        super().__init__(name, bases, names)
        # Fields are resolved later, among the names of the module that defines the class.
        cls._scope = sys._getframe(1).f_globals

    @property
    def layout(cls) -> Layout:
        """The fields with their offsets."""
        found: Layout | None = cls.__dict__.get("_layout")
        if found is None:
            found = _lay_out(cls)
            cls._layout = found
        return found

    @property
    def size(cls) -> int:
        """Size in words."""
        return cls.layout.n_words

    def offset(cls, name: str) -> int:
        """Offset of field ``name`` in words."""
        return cls.field(name)[1]

    def field(cls, name: str) -> tuple[Type, int]:
        """Type and offset of field ``name``.

        Raises
        ------
        InputError : there is no such field
        """
        for entry in cls.layout.fields:
            if entry.name == name:
                return cls._types[name], entry.offset
        raise InputError(f"struct {cls.__name__} has no field {name}")

    _types: dict[str, Type]
    _layout: Layout
    _scope: dict[str, Any]


class Struct(metaclass=_StructMeta):
    """Base of every struct of kernel Python: a class whose annotations are its fields.

    A struct derived from another begins with all of its fields.
    """

    if TYPE_CHECKING:  # a struct is never instantiated; its places are words
        value: Any

        def __getitem__(self, index: Any) -> Any: ...
        def __add__(self, n: Any) -> Any: ...
        def __sub__(self, n: Any) -> Any: ...

    __hash__: ClassVar[Any] = object.__hash__

    def __init__(self) -> None:
        raise InputError(f"{type(self).__name__} is a layout of kernel memory, not an object")


def _lay_out(cls: _StructMeta) -> Layout:
    from mkold.lang.annotations import resolve_text

    scope = {cls.__name__: cls} | cls._scope
    fields: list[Field] = []
    types: dict[str, Type] = {}
    at = 0
    first = cls.__base__
    if isinstance(first, _StructMeta) and first is not Struct:
        fields, at = [*first.layout.fields], first.size
        types = dict(first._types)
    for name, annotation in inspect.get_annotations(cls).items():
        if name in types:
            raise InputError(f"struct {cls.__name__} begins with a field {name} already")
        type_ = resolve_text(annotation, scope, f"{cls.__name__}.{name}")
        types[name] = type_
        size = n_words(type_)
        fields.append(Field(name, at, size, str(type_), *_shape(type_)))
        at += size
    cls._types = types
    return Layout(cls.__name__, tuple(fields), at)


def _shape(type_: Type) -> tuple[tuple[int, ...], Layout | None]:
    """Lengths of an array, the outermost first, and the layout of a struct in it."""
    counts: tuple[int, ...] = ()
    while isinstance(type_, Repeat):
        counts, type_ = (*counts, type_.n), type_.element
    return counts, type_.struct.layout if isinstance(type_, Record) else None
