"""The door: what a caller hands over is looked at as it comes in.

Each check gives back what it was handed, in the form that the rest of ``check`` relies on,
or blames the caller's line. Nothing behind the door looks at types again.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import fields
from typing import Any, TypeVar

from mkold.base.errors import InputError, Pos
from mkold.check.blame import wrong
from mkold.ir.definition import Definition
from mkold.ir.layout import Field, Layout
from mkold.ir.nodes import WORD_MASK
from mkold.ir.program import POISONS
from mkold.ir.variant import Edit

T = TypeVar("T")
_PLACE = re.compile(r"[^:\s]+:\w+(\[\d+\])?")
_SMALL_TYPE = re.compile(r"([us])(8|16|32|64)")


def text(what: str, value: object, *, empty: bool = True) -> str:
    """``value``, a text; an ``empty`` one is fine."""
    if not isinstance(value, str):
        raise wrong(f"{what} must be a text, not {shown(value)}")
    if not (value or empty):
        raise wrong(f"{what} is empty")
    if any(sign not in "\n\t" and not sign.isprintable() for sign in value):
        raise wrong(f"{what} has a control character: {shown(value)}")
    return value


def truth(what: str, value: object) -> bool:
    """``value``, True or False."""
    if not isinstance(value, bool):
        raise wrong(f"{what} must be True or False, not {shown(value)}")
    return value


def answer(what: str, value: object, at: Pos | None) -> bool:
    """Whether ``value``, what a test gave, is true; a forgotten ``return`` is no answer."""
    if value is None or isinstance(value, str):
        raise wrong(f"{what} must give True or False, and gave {shown(value)}", at=at)
    try:
        return bool(value)
    except Exception as error:  # an array, say, is neither
        raise wrong(f"{what} must give True or False: {error}", at=at) from error


def instance(what: str, value: object, kind: type[T]) -> T:
    """``value``, of class ``kind``."""
    if not isinstance(value, kind):
        raise wrong(f"{what} must be a {kind.__name__}, not {shown(value)}")
    return value


def function(what: str, value: object, n_args: int = 1) -> Callable[..., Any]:
    """``value``, a Python function that can be called with ``n_args``."""
    code = getattr(value, "__code__", None)
    if not callable(value) or isinstance(value, type) or is_definition(value):
        raise wrong(f"{what} must be a Python function, not {shown(value)}")
    if code is not None and getattr(value, "__self__", None) is None:
        least = code.co_argcount - len(getattr(value, "__defaults__", None) or ())
        most = max(code.co_argcount, n_args if code.co_flags & 0x04 else 0)  # 0x04: *args
        if not least <= n_args <= most:
            takes = f"{code.co_argcount} argument{'s' * (code.co_argcount != 1)}"
            raise wrong(f"{what} is called with {n_args}, and it takes {takes}")
    return value


def word(what: str, value: object, least: int = 0, most: int = WORD_MASK) -> int:
    """``value``, a whole number in a range; by default what a word can hold."""
    number = whole(what, value)
    if not least <= number <= most:
        hint = "a word has no sign: write -1 as (1 << 64) - 1" if number < 0 else ""
        lie = f"{what} must lie in {_power(least)} to {_power(most)}"
        raise wrong(f"{lie}, and is {shown(number)}", hint=hint)
    return number


def fitting(value: object, where: str, field: Field) -> int:
    """``value``, a word that ``field`` holds whole, with its sign; POISON goes anywhere."""
    number, bits = word("a word", value), field.bits
    low = number & ((1 << bits) - 1)
    negative = field.signed and low >> (bits - 1)
    wanted = low | (WORD_MASK >> bits << bits) if negative else low
    if number not in (low, wanted, *POISONS):
        hint = f"{field.type} has {bits} bits"
        if field.type == "atomic_t":
            hint += "; atomic_long_t has 64"
        raise wrong(f"{shown(number)} does not fit {where}", hint=hint)
    return number if number in POISONS else wanted


def whole(what: str, value: object) -> int:
    """``value``, a whole number of any size."""
    try:
        return operator.index(value)  # type: ignore[arg-type]  # what is none is refused here
    except TypeError:
        reason = f"{what} must be a whole number, not {shown(value)}"
    except InputError as error:  # a build parameter
        reason = f"{what}: {error}"
    raise wrong(reason)


def is_definition(value: object) -> bool:
    """Whether ``value`` is a function of a front end."""
    return hasattr(value, "lowered") and hasattr(value, "key")


def definition(what: str, value: object) -> Definition:
    """``value``, a kernel function."""
    if is_definition(value):
        found: Definition = value  # type: ignore[assignment]  # the check is by attributes
        return found
    hint = "decorate it with @kernel" if hasattr(value, "__code__") else ""
    raise wrong(f"{what} must be a kernel function, not {shown(value)}", hint=hint)


def call(what: str, value: object) -> tuple[Definition, tuple[int, ...]]:
    """``value``, a tuple of a kernel function and the words that it takes."""
    if not isinstance(value, tuple | list) or not value:
        hint = "write (function, word, ...)"
        raise wrong(f"{what} must be a tuple, not {shown(value)}", hint=hint)
    called = definition(f"the function of {what}", value[0])
    return called, words(called, value[1:])


def words(called: Definition, args: Iterable[object]) -> tuple[int, ...]:
    """``args``, as many as ``called`` takes, each in its parameter's range."""
    args, names = tuple(args), called.lowered.params
    if len(args) != len(names):
        takes = f"{len(names)} argument{'s' * (len(names) != 1)}"
        raise wrong(
            f"{called.name} takes {takes}, and {len(args)} were given",
            hint=f"{called.name}{called.signature}",
        )
    return tuple(
        word(f"argument {name} of {called.name}", arg, *_range(type_))
        for name, arg, type_ in zip(names, args, _types(called.signature), strict=True)
    )


def _types(signature: str) -> list[str]:
    """The parameters' types in ``(Ptr[Box], u8) -> u64``."""
    found, depth = [""], 0
    for sign in signature:
        depth += (sign in "([") - (sign in ")]")
        if depth == 0:
            break
        if sign == "," and depth == 1:
            found.append("")
        elif sign != "(" or depth > 1:
            found[-1] += sign
    return [type_.strip() for type_ in found if type_.strip()]


def _range(type_: str) -> tuple[int, int]:
    small = _SMALL_TYPE.fullmatch(type_)
    if small is None:
        return 0, WORD_MASK
    bits = int(small[2])
    return (0, (1 << bits) - 1) if small[1] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def struct(value: object) -> Layout:
    """The layout of ``value``, a struct."""
    layout = getattr(value, "layout", None)
    if not isinstance(layout, Layout):
        hint = "m.words(n) makes words" if isinstance(value, int) else ""
        raise wrong(f"an object is of a Struct, not {shown(value)}", hint=hint)
    return layout


def names(what: str, value: object, *, any_kind: bool = False) -> frozenset[str]:
    """``value``, a set of texts; ``any_kind`` of collection will do."""
    if isinstance(value, str) or not isinstance(value, Collection if any_kind else Set):
        some = value if isinstance(value, list | tuple) else [value]
        texts = all(isinstance(one, str) for one in some)
        hint = f"write {{{', '.join(map(shown, some))}}}" if some and texts else ""
        raise wrong(f"{what} must be a set of names, not {shown(value)}", hint=hint)
    return frozenset(text(f"a name in {what}", one, empty=False) for one in value)


def known(
    what: str, wanted: Iterable[object], there: Collection[str], at: Pos | None = None
) -> None:
    """Refuse a name in ``wanted`` that is not ``there``."""
    for name in wanted:
        if name not in there:
            near = difflib.get_close_matches(str(name), there, 1)
            listed = ", ".join(sorted(there)) or "none"
            hint = f"did you mean {near[0]}?" if near else f"there are: {listed}"
            raise wrong(f"there is no {what} {shown(name)}", hint=hint, at=at)


def mapping(what: str, value: object, check: Callable[[str, object], T]) -> dict[str, T]:
    """``value``, a dict by name; ``check`` looks at each value."""
    if not isinstance(value, Mapping):
        raise wrong(f"{what} must be a dict, not {shown(value)}")
    return {
        text(f"a name in {what}", name, empty=False): check(f"{name} in {what}", one)
        for name, one in value.items()
    }


def several(what: str, value: object, check: Callable[[str, object], T]) -> tuple[T, ...]:
    """``value``, a tuple or a list; ``check`` looks at each part."""
    if not isinstance(value, tuple | list):
        hint = "a tuple of one is written (x,)"
        raise wrong(f"{what} must be a tuple, not {shown(value)}", hint=hint)
    return tuple(check(f"part {i} of {what}", one) for i, one in enumerate(value))


def edit(what: str, value: object) -> Edit:
    """``value``, an edit whose fields make sense."""
    if not isinstance(value, Edit):
        raise wrong(f"{what} must be an edit (Drop, Swap, ...), not {shown(value)}")
    kind = type(value).__name__
    for item in fields(value):
        one = getattr(value, item.name)
        if item.type in (int, "int"):
            word(f"{item.name} of {kind}", one)
            continue
        text(f"{item.name} of {kind}", one, empty=False)
        if item.name in ("place", "other") and not _PLACE.fullmatch(one):
            hint = 'write "function:primitive" or "function:primitive[2]"'
            raise wrong(f"{one!r} is no place in the source", hint=hint)
    return value


def _power(number: int) -> str:
    """A bound as people write it."""
    for n, shown in ((number, ""), (number + 1, " - 1")):
        if abs(n) > 1 << 12 and abs(n) & (abs(n) - 1) == 0:
            return f"{'-' * (n < 0)}2**{abs(n).bit_length() - 1}{shown}"
    return str(number)


def shown(value: object) -> str:
    """``value`` in a few words, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # of a class of the caller's, or an int of thousands of digits
        return f"a value of {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = [
    "answer", "call", "definition", "edit", "fitting", "function", "instance", "is_definition",
    "known", "mapping", "names", "several", "shown", "struct", "text", "truth", "whole", "word",
    "words", "wrong",
]  # fmt: skip
