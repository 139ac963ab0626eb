"""Where the fields of a struct lie, in words: all that a reader of memory needs of a type.

A front end makes a layout of its own types. Fields lie one after another; a field that is
an array says how often it repeats, and one that is a struct (or an array of such) holds
that struct's layout, so every word has a path: ``arch.radix``, ``slots[2].base_gfn``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from mkold.base.errors import InputError


@dataclass(frozen=True, slots=True)
class Field:
    """A member: ``n_words`` words at word ``offset``; ``type`` as the source wrote it.

    ``counts`` are the lengths of an array, the outermost first; ``inside`` is the layout
    of the struct that the field, or each of its elements, is. Of a number ``bits`` and
    ``signed`` say what of its word it uses.
    """

    name: str
    offset: int
    n_words: int
    type: str
    counts: tuple[int, ...] = ()
    inside: Layout | None = None
    bits: int = 64
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct: its fields in order, ``n_words`` in all."""

    name: str
    fields: tuple[Field, ...]
    n_words: int

    def field(self, path: str) -> Field:
        """The member at ``path``, such as ``"lrugen.aging.passes"``; its offset from here.

        Raises
        ------
        InputError : there is no such member
        """
        layout, offset = self, 0
        *outer, last = path.split(".")
        for name in outer:
            found = layout._own(name)
            if found.inside is None or found.counts:
                raise InputError(f"struct {layout.name}: {name} has no field {last}")
            layout, offset = found.inside, offset + found.offset
        found = layout._own(last)
        return replace(found, offset=offset + found.offset)

    def _own(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise InputError(f"struct {self.name} has no field {name}")

    def at(self, offset: int) -> Field:
        """The innermost member that the word at ``offset`` lies in, an array's element too."""
        field = next(f for f in self.fields if f.offset <= offset < f.offset + f.n_words)
        if field.inside is None:
            return field
        return field.inside.at((offset - field.offset) % field.inside.n_words)

    def words(self, most: int) -> Iterator[tuple[str, int]]:
        """The path and the offset of every word; of an array longer than ``most``, of its
        first word alone (by the array's name)."""
        for field in self.fields:
            yield from _words(field.name, field.offset, field, field.counts, most)


class LaidOut(Protocol):
    """A struct type of any front end."""

    @property
    def layout(self) -> Layout:
        """Its layout."""


def _words(
    path: str, at: int, field: Field, counts: tuple[int, ...], most: int
) -> Iterator[tuple[str, int]]:
    if counts:
        n, *rest = counts
        if n > most:
            yield path, at
            return
        step = _size(field, tuple(rest))
        for i in range(n):
            yield from _words(f"{path}[{i}]", at + i * step, field, tuple(rest), most)
    elif field.inside is not None:
        for inner, offset in field.inside.words(most):
            yield f"{path}.{inner}", at + offset
    else:
        yield path, at


def _size(field: Field, counts: tuple[int, ...]) -> int:
    """Words of one element of ``field`` after ``counts`` of its indices are left."""
    size = 1 if field.inside is None else field.inside.n_words
    for n in counts:
        size *= n
    return size
