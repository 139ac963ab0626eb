"""Pointers, arrays, structs and pointers to functions, over words.

Rules
-----
* Whatever is one value takes one word of memory: a number of any width, a pointer, a
  pointer to a function. A struct's fields lie one after another, ``Array[T, n]`` is ``n``
  times ``T``; so no byte of one object lies in the word of another.
* A struct is laid out when its fields are first asked for, so that a field may name a
  struct that is defined later.
* A struct may begin with all of another's fields; a pointer to it goes where one to the
  other is wanted.
* A pointer goes where a 64-bit number is wanted; the other way needs a cast.

Known limits: no bit fields (use masks), no unions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mkold.base.errors import InputError
from mkold.ir.layout import Field, Layout
from mkold.lang.types.words import U64, Word

# More words than any machine here has; a larger array is a slip of the pen.
MAX_ELEMENTS = 1 << 24


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

    struct: StructType

    def __str__(self) -> str:
        return self.struct.name


@dataclass(frozen=True, slots=True)
class FunctionPointer:
    """A pointer to a function of these parameters and results."""

    params: tuple[Type, ...]
    results: tuple[Type, ...]

    @property
    def signature(self) -> str:
        """As ``ir.module.Definition`` has it: equal for types that are the same."""
        params, results = (", ".join(map(_plain, part)) for part in (self.params, self.results))
        return f"({params}) -> {results or 'None'}"

    def __str__(self) -> str:
        results = "None" if not self.results else ", ".join(map(str, self.results))
        if len(self.results) > 1:
            results = f"tuple[{results}]"
        return f"Fn[[{', '.join(map(str, self.params))}], {results}]"


Type = Word | Pointer | Repeat | Record | FunctionPointer
NULL_TYPE = Pointer(None)


def _plain(type_: Type) -> str:
    """``type_`` as text in which a number has one name."""
    match type_:
        case Word():
            return "bool" if type_.bits == 1 else f"{'s' if type_.signed else 'u'}{type_.bits}"
        case Pointer(target) if target is not None:
            return f"Ptr[{_plain(target)}]"
        case Repeat(element, n):
            return f"Array[{_plain(element)}, {n}]"
        case FunctionPointer():
            return f"Fn[{type_.signature}]"
        case _:
            return str(type_)


class StructType:
    """A struct of some front end.

    Parameters
    ----------
    name : its name in the source
    fields : gives names and types in order, when they are first needed
    begins : the struct that this one begins with, if any
    module : where it is defined, to tell it from another of its name
    """

    def __init__(
        self,
        name: str,
        fields: Callable[[], Iterable[tuple[str, Type]]],
        begins: StructType | None = None,
        module: str = "",
    ) -> None:
        self.name, self.begins = name, begins
        self.full_name = f"{module}.{name}" if module else name
        self._fields = fields
        self._layout: Layout | None = None
        self._types: dict[str, Type] = {}
        self._is_open = False  # being laid out

    @property
    def layout(self) -> Layout:
        """The fields with their offsets.

        Raises
        ------
        InputError : a field's type makes no sense, or the struct holds itself
        """
        if self._layout is None:
            if self._is_open:
                raise InputError(f"struct {self.name} holds itself; a field may point to it")
            self._is_open = True
            try:
                self._layout = self._lay_out()
            finally:
                self._is_open = False
        return self._layout

    def _lay_out(self) -> Layout:
        fields: list[Field] = []
        types: dict[str, Type] = {}
        at = 0
        if self.begins is not None:
            fields, at = [*self.begins.layout.fields], self.begins.size
            types = dict(self.begins._types)
        for name, type_ in self._fields():
            if name in types:
                raise InputError(f"struct {self.name} begins with a field {name} already")
            types[name] = type_
            size = n_words(type_)
            fields.append(Field(name, at, size, str(type_), *_shape(type_)))
            at += size
        self._types = types
        return Layout(self.name, tuple(fields), at)

    @property
    def size(self) -> int:
        """Size in words."""
        return self.layout.n_words

    def offset(self, name: str) -> int:
        """Offset of field ``name`` in words.

        Raises
        ------
        InputError : there is no such field
        """
        return self.field(name)[1]

    def field(self, name: str) -> tuple[Type, int]:
        """Type and offset of field ``name``.

        Raises
        ------
        InputError : there is no such field
        """
        offset = self.layout.field(name).offset
        return self._types[name], offset

    @property
    def names(self) -> list[str]:
        """Names of the fields."""
        return [field.name for field in self.layout.fields]

    def begins_with(self, other: StructType) -> bool:
        """Whether it is ``other``, or begins with it."""
        return self is other or (self.begins is not None and self.begins.begins_with(other))


def _shape(type_: Type) -> tuple[tuple[int, ...], Layout | None, int, bool]:
    """Lengths of an array, the outermost first; of what is in it the layout, if it is a
    struct, and the width and sign, if it is a number."""
    counts: tuple[int, ...] = ()
    while isinstance(type_, Repeat):
        counts, type_ = (*counts, type_.n), type_.element
    if isinstance(type_, Record):
        return counts, type_.struct.layout, 64, False
    number = type_ if isinstance(type_, Word) else U64
    return counts, None, number.width, number.signed


def n_words(type_: Type) -> int:
    """Size of ``type_`` in words."""
    match type_:
        case Repeat(element, n):
            return n_words(element) * n
        case Record(struct):
            return struct.size
        case _:
            return 1


def is_one_value(type_: Type) -> bool:
    """Whether an object of ``type_`` can be read and written whole."""
    return not isinstance(type_, Record | Repeat)


def same(a: Type, b: Type) -> bool:
    """Whether two types are one, whatever name a number goes by."""
    match a, b:
        case Word(), Word():
            return (a.bits, a.signed) == (b.bits, b.signed)
        case Pointer(x), Pointer(y):
            return x is not None and y is not None and same(x, y)
        case Repeat(x, n), Repeat(y, m):
            return n == m and same(x, y)
        case FunctionPointer(), FunctionPointer():
            pairs = [*zip(a.params, b.params, strict=False)]
            pairs += zip(a.results, b.results, strict=False)
            counts = len(a.params) == len(b.params) and len(a.results) == len(b.results)
            return counts and all(same(x, y) for x, y in pairs)
    return a == b


def told_from(type_: Type, other: Type) -> str:
    """``type_`` as text; its struct with its module where ``other`` reads the same."""
    text = str(type_)
    inner: Type | None = type_
    while isinstance(inner, Pointer | Repeat):
        inner = inner.target if isinstance(inner, Pointer) else inner.element
    if text != str(other) or not isinstance(inner, Record):
        return text
    return text.replace(inner.struct.name, inner.struct.full_name)


def fits(source: Type, target: Type) -> bool:
    """Whether a pointer of type ``source`` may go where a pointer ``target`` is wanted."""
    if source == NULL_TYPE:
        return isinstance(target, Pointer | FunctionPointer)
    if isinstance(source, FunctionPointer) or isinstance(target, FunctionPointer):
        return same(source, target)
    if not (isinstance(source, Pointer) and isinstance(target, Pointer)):
        return False
    a, b = source.target, target.target
    if a is None or b is None or same(a, b):
        return True
    return isinstance(a, Record) and isinstance(b, Record) and a.struct.begins_with(b.struct)
