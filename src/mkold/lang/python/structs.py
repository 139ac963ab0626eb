"""``Struct``: a class whose annotations are the fields of a struct."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from mkold.base.errors import InputError
from mkold.ir.layout import Layout
from mkold.lang.python.annotations import resolve_text
from mkold.lang.types.structs import StructType, Type


class _StructMeta(type):
    """A class that is a struct: what Python code asks of it."""

    as_type: StructType

    def __init__(cls, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> None:
        super().__init__(name, bases, names)
        # Fields are resolved later, among the names of the module that defines the class.
        scope = sys._getframe(1).f_globals
        begins = next((base.as_type for base in bases if isinstance(base, _StructMeta)), None)
        if begins is not None and not begins.name:  # ``Struct`` itself
            begins = None
        cls.as_type = StructType(
            name if bases else "", lambda: _fields(cls, scope), begins, cls.__module__
        )

    @property
    def layout(cls) -> Layout:
        """The fields with their offsets."""
        return cls.as_type.layout

    @property
    def size(cls) -> int:
        """Size in words."""
        return cls.as_type.size

    def offset(cls, name: str) -> int:
        """Offset of field ``name``, such as ``"arch.radix"``, in words.

        Raises
        ------
        InputError : there is no such field
        """
        return cls.as_type.layout.field(name).offset

    def field(cls, name: str) -> tuple[Type, int]:
        """Type and offset of field ``name``.

        Raises
        ------
        InputError : there is no such field
        """
        return cls.as_type.field(name)


def _fields(cls: _StructMeta, scope: dict[str, Any]) -> Iterator[tuple[str, Type]]:
    names = {cls.__name__: cls} | scope
    for name, annotation in inspect.get_annotations(cls).items():
        yield name, resolve_text(annotation, names, f"{cls.__name__}.{name}")


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
