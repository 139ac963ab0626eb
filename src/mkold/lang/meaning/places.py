"""Places in memory and locals: fields, elements, loads, stores, addresses.

Rules
-----
* Reading a place is a plain load, assigning to it a plain store. A pointer that lies in
  memory is read (plain) to be followed.
* A number narrower than a word has a word of memory to itself and lies there with zeros
  above; reading a signed one extends its sign.
* A local is a register, unless its address is taken or it is a struct or an array: then it
  has words on the stack of the thread that runs it, which hold POISON before it is
  assigned and after the function has returned.
* A local keeps the type of its first value, if the source states none; a wider number
  does not go into it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypedDict

from mkold.base.errors import InputError, Pos
from mkold.ir.nodes import Assign, Local, Op
from mkold.lang.meaning import arithmetic
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.convert import converted, cut
from mkold.lang.meaning.values import Operand, Place, Results, Value, binary, word
from mkold.lang.types.structs import (
    NULL_TYPE,
    Pointer,
    Record,
    Repeat,
    Type,
    fits,
    is_one_value,
    n_words,
)
from mkold.lang.types.words import BOOL, U8, U64, Word, canonical

FRAME = ".frame"  # the local that holds the address of a function's words on the stack


# Naming a place.


def field(b: Builder, base: Operand, name: str, at: Pos, text: str) -> Place:
    """The field ``name`` of a struct in place, or of the one that a pointer leads to.

    Raises
    ------
    SourceError : there is no such field, or no struct
    """
    if isinstance(base, Place) and isinstance(base.type, Record):
        return _field(b, Value(base.address, U64, base.at), base.type, name, at, text)
    pointer = read(b, base)
    target = _target(b, pointer, at, "which has no fields", "Ptr[SomeStruct]")
    if not isinstance(target, Record):
        hint = "p.value is the word it points to, p[i] the i-th from there"
        raise b.error(at, f"{b.source.text(pointer.at)} points to {target}", hint)
    return _field(b, pointer, target, name, at, text)


def has_field(operand: Operand, name: str) -> bool:
    """Whether ``operand`` is, or leads to, a struct with such a field."""
    match operand:
        case Place(type=Record()):
            return True  # or an error that says so
        case Place(type=Pointer(Record(struct))) | Value(type=Pointer(Record(struct))):
            return name in struct.names
    return False


def _field(b: Builder, base: Value, record: Record, name: str, at: Pos, text: str) -> Place:
    struct = record.struct
    try:
        names = struct.names
    except InputError as error:  # the struct itself is wrong
        raise b.error(at, str(error)) from None
    if name not in names:
        hint = f"fields: {', '.join(names)}"
        raise b.error(at, f"struct {struct.name} has no field {name}", hint)
    b.uses.structs[struct] = None
    type_, offset = struct.field(name)
    return Place(binary("add", base.expr, word(offset)), type_, text, at)


def pointee(b: Builder, base: Operand, at: Pos, text: str) -> Place:
    """What a pointer leads to."""
    pointer = read(b, base)
    target = _target(b, pointer, at, "which points to nothing", "Ptr[u64]")
    return Place(pointer.expr, target, text, at)


def element(b: Builder, base: Operand, index: Value, at: Pos, text: str) -> Place:
    """Element ``index`` of an array in place, or counted from where a pointer leads.

    Raises
    ------
    SourceError : neither an array nor a pointer, or a constant index outside the array
    """
    if isinstance(base, Place) and isinstance(base.type, Repeat):
        of, start, n = base.type.element, base.address, base.type.n
        if index.exact is not None and not 0 <= index.exact < n:
            raise b.error(at, f"{text} is outside {base.text}, which has {n} elements")
    else:
        pointer = read(b, base)
        of = _target(b, pointer, at, "not an array", "Ptr[u64]")
        start = pointer.expr
    index = arithmetic.plain(b, b.shallow(index))
    step = binary("mul", index.expr, word(n_words(of)))
    return Place(binary("add", start, step), of, text, at)


def _target(b: Builder, pointer: Value, at: Pos, what: str, declare: str) -> Type:
    if isinstance(pointer.type, Pointer) and pointer.type.target is not None:
        return pointer.type.target
    text, type_ = b.source.text(pointer.at), str(pointer.type)
    article = "an" if type_[:1] in "aeio" else "a"
    hint = f"declare it {declare}, or cast({declare}, ...)"
    raise b.error(at, f"{text} is {article} {type_}, {what}", hint)


def part(b: Builder, place: Place, index: int, at: Pos, text: str) -> Place:
    """Byte ``index`` of a word, the lowest being 0.

    Raises
    ------
    SourceError : the place is no number, or has no such byte
    """
    if not isinstance(place.type, Word) or place.is_part:
        raise b.error(place.at, f"{place.text} is {place.type}, and a number has bytes")
    n = place.type.width // U8.bits
    if not 0 <= index < n:
        raise b.error(at, f"{place.text} has bytes 0 to {n - 1}")
    return Place(place.address, U8, text, at, U8.bits * index, is_part=True)


def address(b: Builder, place: Place, at: Pos) -> Value:
    """Where a place lies."""
    if place.is_part:
        raise b.error(place.at, f"{place.text} is a part of a word, which has no address")
    return Value(place.address, Pointer(place.type), at)


# Reading and writing.


def read(b: Builder, operand: Operand, into: str | None = None) -> Value:
    """The value that ``operand`` stands for; a place is read by a plain load.

    ``into`` is the local that the value is about to be assigned to.

    Raises
    ------
    SourceError : it is a whole struct or array, or a call without one result
    """
    match operand:
        case Value():
            return operand
        case Results(values=values, at=at):
            if not values:
                raise b.error(at, "this call returns nothing, and a value is needed")
            hint = "receive them: a, b = f(...)"
            raise b.error(at, f"this call returns {len(values)} values", hint)
        case Place(address=where, type=type_, text=text, at=at):
            _check_whole(b, operand, "needed", "take addr(...)")
            found = value_type(type_)
            dst = into if into is not None else b.temporary(hint_of(text), found)
            b.emit(Op("load", (dst,), (where,), text, at, **extent(operand)))
            return got(dst, found, at)


def got(dst: str, type_: Type, at: Pos) -> Value:
    """What a load or a read-modify-write left in local ``dst``, its sign extended."""
    local = Local(dst)
    if isinstance(type_, Word) and type_.signed:
        return Value(cut(local, Word("", type_.bits), type_), type_, at)
    return Value(local, type_, at)


def value_type(type_: Type) -> Type:
    """The type of a value read from memory: what goes by another name in memory."""
    if not isinstance(type_, Word):
        return type_
    return U64 if type_.bits == BOOL.bits else canonical(type_)  # a flag holds any word


class Extent(TypedDict, total=False):
    """Fields of ``Op``."""

    width: int
    shift: int


def extent(place: Place) -> Extent:
    """The bits of its word that a place is, as ``Op`` has it."""
    found: Extent = {}
    if isinstance(place.type, Word) and place.type.width != U64.bits:
        found["width"] = place.type.width
    if place.is_part:
        found["shift"] = place.shift
    return found


def store(b: Builder, place: Place, value: Value, at: Pos) -> None:
    """A plain store to ``place``.

    Raises
    ------
    SourceError : the place holds another type, a whole struct, or is a part of a word
    """
    _check_whole(b, place, "stored", "assign field by field")
    if place.is_part:
        hint = f"WRITE_ONCE({place.text}, ...)"
        raise b.error(place.at, "a plain store can't write a part of a word", hint)
    value = stored(b, place, value)
    b.emit(Op("store", (), (place.address, value.expr), place.text, at, **extent(place)))


def stored(b: Builder, place: Place, value: Value) -> Value:
    """``value`` as ``place`` holds it; into a pointer's place goes any word, as computed."""
    if isinstance(place.type, Word):
        if place.type.bits == BOOL.bits and value.type != BOOL:
            return converted(b, value, U64, f"{place.text} holds")  # memory holds any word
        return converted(b, value, place.type, f"{place.text} holds")
    if isinstance(value.type, Word) and value.type.bits == U64.bits:
        return replace(converted(b, value, value.type, ""), type=place.type)
    return converted(b, value, place.type, f"{place.text} holds")


def _check_whole(b: Builder, place: Place, verb: str, hint: str) -> None:
    if not is_one_value(place.type):
        kind = "a struct" if isinstance(place.type, Record) else "an array"
        raise b.error(
            place.at,
            f"{place.text} is {kind} in memory, and a word is {verb}",
            f"name a field or an element, or {hint}",
        )


def hint_of(text: str) -> str:
    """A short name for what was read from the place ``text``: its last field."""
    outside = re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", text)
    names = [part for part in re.findall(r"[A-Za-z_]\w*", outside) if part != "value"]
    return names[-1] if names else "word"


# Locals.


def local(b: Builder, name: str, at: Pos) -> Operand:
    """What a local's name stands for."""
    if name in b.slots:
        return replace(b.slots[name], at=at)
    return Value(Local(name), b.types[name], at)


def declare(b: Builder, name: str, type_: Type, at: Pos) -> None:
    """The source states the type of a local.

    Raises
    ------
    SourceError : it has another already
    """
    known = b.types.get(name)
    if known is not None and known != type_:
        raise b.error(at, f"{name} is {known} already", "give it a type where it first appears")
    b.types[name] = type_
    b.fixed.add(name)


def place_local(b: Builder, name: str, type_: Type, at: Pos) -> Place:
    """Give a local words on the stack."""
    known = b.slots.get(name)
    if known is None:
        where = binary("add", Local(FRAME), word(b.frame_words))
        b.frame_words += n_words(type_)
        known = b.slots[name] = Place(where, type_, name, at)
    return known


def assign(b: Builder, name: str, value: Value, at: Pos, *, in_memory: bool = False) -> None:
    """``name = value``.

    Parameters
    ----------
    in_memory : its address is taken somewhere in the function

    Raises
    ------
    SourceError : the local has another type
    """
    if name in b.types:
        value = _for_local(b, name, value)
    else:
        value = settled(b, value)
        b.types[name] = value.type
    if in_memory or name in b.slots:
        store(b, place_local(b, name, b.types[name], at), value, at)
    elif value.expr != Local(name):  # a call may have left it there
        b.emit(Assign(name, value.expr, at))


def settled(b: Builder, value: Value) -> Value:
    """``value`` with the type that a local gets from it."""
    if value.exact is not None and isinstance(value.type, Word) and value.type != BOOL:
        return arithmetic.plain(b, value)
    return value


def _for_local(b: Builder, name: str, value: Value) -> Value:
    known = b.types[name]
    if known == NULL_TYPE and fits(NULL_TYPE, value.type):
        b.types[name] = value.type
        return value
    if name not in b.fixed:
        _check_not_wider(b, name, value)
    return converted(b, value, known, f"{name} is")


def _check_not_wider(b: Builder, name: str, value: Value) -> None:
    known, type_ = b.types[name], value.type
    if value.exact is not None or not (isinstance(known, Word) and isinstance(type_, Word)):
        return
    if type_.bits > known.bits:
        hint = f"state a type where {name} is first assigned, such as {name}: {type_} = ..."
        reason = f"{name} is {known} since its first value, and this is {type_}"
        raise b.error(value.at, reason, hint)


def update(b: Builder, name: str, op: str, value: Value, at: Pos) -> None:
    """``name op= value``: wraps at the local's type."""
    old = read(b, local(b, name, at))
    if name not in b.fixed:
        _check_not_wider(b, name, value)
    new = arithmetic.operate(b, op, old, value, at)
    if name in b.slots:
        store(b, b.slots[name], new, at)
        return
    new = converted(b, new, b.types[name], f"{name} is")
    b.emit(Assign(name, new.expr, at))
