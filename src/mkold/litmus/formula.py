"""Formulas over the final state.

Grammar (herd's): ``place = value``, ``place != value`` (``<>`` is the same), ``true``,
``false``, ``~`` or ``not``, ``=>``, ``/\\`` and ``\\/``, from tight to loose, and
parentheses. A bare name on the right is the address of that variable; ``[x]``, ``*x`` and
``1:r2`` on the right are contents. An array equals a list ``{1, 2}`` or an array as long;
it never equals a single value.
"""

from __future__ import annotations

from mkold.ir.program import And, Compare, Formula, Mem, Not, Observed, Or, Words
from mkold.litmus.initial import is_name, number, read_list, read_value
from mkold.litmus.places import Place, Places
from mkold.litmus.source import UnsupportedSourceError, shown
from mkold.litmus.types import INT

_EQUAL, _DIFFERENT = ("=", "=="), ("!=", "<>")
MAX_DEPTH = 100


class Formulas:
    """Reads formulas.

    ``places`` are all that were named so far, in order; ``unusual`` the comparisons with
    words that are no positive ``int``, each with its token's number.
    """

    __slots__ = ("places", "reader", "tokens", "unusual")

    def __init__(self, reader: Places) -> None:
        self.reader, self.tokens = reader, reader.tokens
        self.places: list[Place] = []
        self.unusual: list[tuple[Observed, int, int]] = []

    def formula(self, depth: int = 0) -> Formula:
        """A whole formula."""
        parts = [self._all_of(depth)]
        while self.tokens.texts[self.tokens.at] == "\\/":
            self.tokens.at += 1
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def observed(self) -> Formula:
        """herd's list of observed states: ``0:r1=1; x=2; and 0:r1=0; x=0;``."""
        tokens = self.tokens
        states = []
        while True:
            facts = []
            while tokens.texts[tokens.at] not in ("and", ""):
                facts.append(self.atom())
                if tokens.texts[tokens.at]:
                    tokens.expect(";", "after an observed value")
            states.append(facts[0] if len(facts) == 1 else And(tuple(facts)))
            if not tokens.texts[tokens.at]:
                return states[0] if len(states) == 1 else Or(tuple(states))
            tokens.at += 1

    def _all_of(self, depth: int) -> Formula:
        parts = [self._implication(depth)]
        while self.tokens.texts[self.tokens.at] == "/\\":
            self.tokens.at += 1
            parts.append(self._implication(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _implication(self, depth: int) -> Formula:
        left = self._negation(depth)
        if self.tokens.texts[self.tokens.at] != "=>":
            return left
        self._check_depth(depth)
        self.tokens.at += 1
        return Or((Not(left), self._implication(depth + 1)))

    def _negation(self, depth: int) -> Formula:
        tokens = self.tokens
        token = tokens.texts[tokens.at]
        if token in ("~", "not"):
            self._check_depth(depth)
            tokens.at += 1
            return Not(self._negation(depth + 1))
        if token == "(":
            self._check_depth(depth)
            tokens.at += 1
            inner = self.formula(depth + 1)
            tokens.expect(")", "after a formula")
            return inner
        if token in ("true", "false") and tokens.texts[tokens.at + 1] not in _EQUAL:
            tokens.at += 1
            return And(()) if token == "true" else Or(())
        return self.atom()

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.tokens.fail(
                f"this formula is nested more than {MAX_DEPTH} deep",
                kind=UnsupportedSourceError,
            )

    def atom(self) -> Formula:
        """One comparison."""
        tokens = self.tokens
        place = self._place()
        operator = tokens.texts[tokens.at]
        if operator not in _EQUAL + _DIFFERENT:
            tokens.fail(
                f"expected '=' or '!=', found {shown(operator)}",
                hint="a formula compares a register or a variable with a value",
            )
        tokens.at += 1
        equal = self._equal(place)
        return Not(equal) if operator in _DIFFERENT else equal

    def _place(self) -> Place:
        place = self.reader.read()
        self.places.append(place)
        return place

    def _equal(self, place: Place) -> Formula:
        """``place``, with what follows the operator."""
        tokens = self.tokens
        texts = tokens.texts
        if texts[tokens.at] == "{":
            return self._equals_list(place)
        if self.reader.starts_place():
            other = self._place()
            if isinstance(place, Words) or isinstance(other, Words):
                return _same_words(place, other)
            return Compare("eq", place, other)
        at = tokens.at
        word = self._word()
        if isinstance(place, Words):
            return Or(())
        if word > INT.high:
            self.unusual.append((place, word, at))
        return Compare("eq", place, word)

    def _equals_list(self, place: Place) -> Formula:
        opened = self.tokens.at
        values = read_list(self.tokens, self.reader.known, self.reader.check_name)
        if not isinstance(place, Words):
            self.tokens.fail("a list of values for what is no array", index=opened)
        if len(values) != place.n:
            self.tokens.fail(f"{len(values)} values for {place.n} elements", index=opened)
        return And(tuple(map(_equals, place.each(), values)))

    def _word(self) -> int:
        tokens = self.tokens
        token = tokens.texts[tokens.at]
        if not (token in ("-", "+", "&", "(") or number(token) is not None or is_name(token)):
            tokens.fail(f"expected a value, found {shown(token)}")
        return read_value(tokens, self.reader.known, self.reader.check_name)


def _equals(place: Mem, word: int) -> Formula:
    return Compare("eq", place, word)


def _same_words(left: Place, right: Place) -> Formula:
    if not (isinstance(left, Words) and isinstance(right, Words) and left.n == right.n):
        return Or(())
    pairs = zip(left.each(), right.each(), strict=True)
    return And(tuple(Compare("eq", a, b) for a, b in pairs))
