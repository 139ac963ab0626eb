"""The final part: ``locations``, ``filter`` and the condition.

The condition is ``exists`` (or ``final``), ``~exists`` or ``forall`` with a formula, or
``observed`` with a list of states, of which one is to be seen. Without a condition,
``forall true`` is meant, as in herd.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mkold.ir.program import TRUE, Condition, Formula, Mem, Observed, Reg, Words
from mkold.litmus.formula import Formulas
from mkold.litmus.globals import Globals
from mkold.litmus.initial import is_name
from mkold.litmus.places import Place, Places, ThreadNames
from mkold.litmus.source import Text, Tokens, blank_comments, shown


@dataclass(frozen=True, slots=True)
class Final:
    """What the final part asks for; ``shown`` as of ``Program``.

    ``unusual``: as of ``Formulas``, with the first offset in the text for each.
    """

    condition: Condition
    filter: Formula | None
    observed: tuple[Observed, ...]
    shown: tuple[Place, ...]
    unusual: tuple[tuple[Observed, int, int], ...]


def read_final(
    source: Text, span: tuple[int, int], known: Globals, threads: Sequence[ThreadNames]
) -> Final:
    """Read the final part in ``span``."""
    start, end = span
    tokens = Tokens(source, blank_comments(source, start, end), start, end)
    reader = Places(tokens, known, threads)
    places = _locations(reader) if tokens.texts[tokens.at] == "locations" else []
    wanted: Formula | None = None
    unusual: list[tuple[Observed, int, int]] = []
    if tokens.texts[tokens.at] == "filter":
        tokens.at += 1
        filters = Formulas(reader)
        wanted = filters.formula()
        unusual = filters.unusual
    formulas = Formulas(reader)
    condition = _condition(formulas)
    while tokens.texts[tokens.at] == ";":
        tokens.at += 1
    if tokens.texts[tokens.at]:
        tokens.fail(f"unexpected {shown(tokens.texts[tokens.at])} after the condition")
    unusual = [*unusual, *formulas.unusual]
    shown_places = _in_order([*places, *formulas.places], known)
    observed: dict[Observed, None] = {}
    arrays = False
    for place in shown_places:
        if isinstance(place, Words):
            arrays = True
            observed |= dict.fromkeys(place.each())
        else:
            observed[place] = None
    places_of = [(place, word, tokens.starts[at]) for place, word, at in unusual]
    return Final(
        condition, wanted, tuple(observed), shown_places if arrays else (), tuple(places_of)
    )


def _locations(reader: Places) -> list[Place]:
    tokens = reader.tokens
    texts = tokens.texts
    tokens.at += 1
    tokens.expect("[", "after 'locations'")
    places: list[Place] = []
    while texts[tokens.at] not in ("]", ""):
        places.append(reader.read(listed=True))
        while is_name(texts[tokens.at]) or texts[tokens.at] == "*":
            tokens.at += 1  # a type, only for people
        if texts[tokens.at] in (";", ","):
            tokens.at += 1
        elif texts[tokens.at] != "]":
            tokens.fail(f"expected ';' or ']', found {shown(texts[tokens.at])}")
    tokens.expect("]", "after locations")
    return places


def _condition(formulas: Formulas) -> Condition:
    tokens = formulas.tokens
    token = tokens.texts[tokens.at]
    if token in ("", ";"):
        return Condition("forall", TRUE)
    tokens.at += 1
    if token in ("exists", "final"):
        return Condition("exists", formulas.formula())
    if token == "forall":
        return Condition("forall", formulas.formula())
    if token in ("~", "not"):
        tokens.expect("exists", f"after '{token}'")
        return Condition("~exists", formulas.formula())
    if token == "observed":
        return Condition("exists", formulas.observed())
    tokens.at -= 1
    raise tokens.error(
        f"expected a condition, found {shown(token)}",
        hint="it starts with exists, ~exists or forall",
    )


def _in_order(places: Iterable[Place], known: Globals) -> tuple[Place, ...]:
    """Each place once, as herd prints: registers, variables by name, elements of arrays."""
    names = {address: name for name, address in known.symbols().items()}

    def key(place: Place) -> tuple[int, int, str, int]:
        if isinstance(place, Reg):
            return 0, place.thread, place.local, 0
        name = names.get(place.address, "")
        if isinstance(place, Mem) and name.endswith("]"):
            return 2, 0, name.partition("[")[0], place.address
        return 1, 0, name, 0

    return tuple(sorted(dict.fromkeys(places), key=key))
