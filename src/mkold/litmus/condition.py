"""The final part: ``locations``, ``filter`` and the condition.

Grammar (herd's): a formula is made of ``place = value``, ``place != value``, ``true``,
``false``, ``~`` or ``not``, ``=>``, ``/\\`` and ``\\/``, from tight to loose, and
parentheses. A place is ``0:r1``, ``x``, ``[x]``, ``*x`` or ``a[1]``. A bare name on the
right is the address of that variable; ``[x]``, ``*x`` and ``1:r2`` on the right are
contents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mkold.ir.formula import observed_in
from mkold.ir.program import (
    TRUE,
    And,
    Compare,
    Condition,
    Formula,
    Mem,
    Not,
    Observed,
    Or,
    Reg,
)
from mkold.litmus.globals import Globals
from mkold.litmus.initial import is_name, number, read_value, thread_number
from mkold.litmus.source import Text, Tokens, UnsupportedSourceError, blank_comments, shown


@dataclass(frozen=True, slots=True)
class Final:
    """What the final part asks for."""

    condition: Condition
    filter: Formula | None
    observed: tuple[Observed, ...]


def read_final(source: Text, span: tuple[int, int], known: Globals, n_threads: int) -> Final:
    """Read the final part in ``span``.

    Without a condition, herd's ``forall true`` is meant.
    """
    start, end = span
    tokens = Tokens(source, blank_comments(source, start, end), start, end)
    return _Final(tokens, known, n_threads).read()


class _Final:
    __slots__ = ("at_most", "known", "tokens")

    def __init__(self, tokens: Tokens, known: Globals, n_threads: int) -> None:
        self.tokens, self.known, self.at_most = tokens, known, n_threads

    def read(self) -> Final:
        tokens = self.tokens
        texts = tokens.texts
        places: list[Observed] = []
        wanted: Formula | None = None
        if texts[tokens.at] == "locations":
            places = self.locations()
        if texts[tokens.at] == "filter":
            tokens.at += 1
            wanted = self.formula()
        condition = self.condition()
        while texts[tokens.at] == ";":
            tokens.at += 1
        if texts[tokens.at]:
            tokens.fail(f"unexpected {shown(texts[tokens.at])} after the condition")
        observed = _in_order([*places, *observed_in(condition.formula)], self.known)
        return Final(condition, wanted, observed)

    def locations(self) -> list[Observed]:
        tokens = self.tokens
        texts = tokens.texts
        tokens.at += 1
        tokens.expect("[", "after 'locations'")
        places: list[Observed] = []
        while texts[tokens.at] not in ("]", ""):
            place = self.place()
            array = self._whole_array(place)
            places += array if array else [place]
            while is_name(texts[tokens.at]) or texts[tokens.at] == "*":
                tokens.at += 1  # a type, only for people
            if texts[tokens.at] in (";", ","):
                tokens.at += 1
            elif texts[tokens.at] != "]":
                tokens.fail(f"expected ';' or ']', found {shown(texts[tokens.at])}")
        tokens.expect("]", "after locations")
        return places

    def _whole_array(self, place: Observed) -> list[Observed]:
        if isinstance(place, Mem) and self.tokens.texts[self.tokens.at - 1] != "]":
            for name, length in self.known.arrays.items():
                if self.known.addresses[name] == place.address:
                    return [Mem(place.address + i) for i in range(length)]
        return []

    def condition(self) -> Condition:
        tokens = self.tokens
        token = tokens.texts[tokens.at]
        if token in ("", ";"):
            return Condition("forall", TRUE)
        tokens.at += 1
        if token in ("exists", "final"):
            return Condition("exists", self.formula())
        if token == "forall":
            return Condition("forall", self.formula())
        if token in ("~", "not"):
            tokens.expect("exists", f"after '{token}'")
            return Condition("~exists", self.formula())
        tokens.at -= 1
        if token == "observed":
            tokens.fail("'observed' conditions are not decided", kind=UnsupportedSourceError)
        raise tokens.error(
            f"expected a condition, found {shown(token)}",
            hint="it starts with exists, ~exists or forall",
        )

    def formula(self) -> Formula:
        return self._any_of(0)

    def _any_of(self, depth: int) -> Formula:
        parts = [self._all_of(depth)]
        while self.tokens.texts[self.tokens.at] == "\\/":
            self.tokens.at += 1
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

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
            inner = self._any_of(depth + 1)
            tokens.expect(")", "after a formula")
            return inner
        if token in ("true", "false") and tokens.texts[tokens.at + 1] not in ("=", "=="):
            tokens.at += 1
            return And(()) if token == "true" else Or(())
        return self._atom()

    def _check_depth(self, depth: int) -> None:
        if depth > 100:
            self.tokens.fail(
                "this formula is nested more than 100 deep", kind=UnsupportedSourceError
            )

    def _atom(self) -> Formula:
        tokens = self.tokens
        place = self.place()
        array = self._whole_array(place)
        operator = tokens.texts[tokens.at]
        if operator not in ("=", "==", "!="):
            tokens.fail(
                f"expected '=' or '!=', found {shown(operator)}",
                hint="a formula compares a register or a variable with a value",
            )
        tokens.at += 1
        if array and tokens.texts[tokens.at] == "{":
            equal: Formula = self._array_values(array)
        else:
            equal = Compare("eq", place, self._right_side())
        return Not(equal) if operator == "!=" else equal

    def _array_values(self, places: list[Observed]) -> Formula:
        tokens = self.tokens
        opened = tokens.at
        tokens.at += 1
        values = []
        while tokens.texts[tokens.at] not in ("}", ""):
            values.append(read_value(tokens, self.known))
            if tokens.texts[tokens.at] == ",":
                tokens.at += 1
        tokens.expect("}", "after an array's values")
        if len(values) != len(places):
            tokens.fail(f"{len(values)} values for {len(places)} elements", index=opened)
        return And(tuple(map(_equal, places, values)))

    def _right_side(self) -> Observed | int:
        tokens = self.tokens
        texts = tokens.texts
        token = texts[tokens.at]
        if token in ("[", "*") or texts[tokens.at + 1 : tokens.at + 2] == [":"]:
            return self.place()
        if not (token in ("-", "+", "&", "(") or number(token) is not None or is_name(token)):
            tokens.fail(f"expected a value, found {shown(token)}")
        return read_value(tokens, self.known)

    def place(self) -> Observed:
        """A register or a variable."""
        tokens = self.tokens
        texts = tokens.texts
        token = texts[tokens.at]
        if token == "*":
            tokens.at += 1
            token = texts[tokens.at]
        thread = thread_number(token)
        if thread is not None and texts[tokens.at + 1 : tokens.at + 2] == [":"]:
            if thread >= self.at_most:
                tokens.fail(f"there is no thread P{thread}")
            register = texts[tokens.at + 2] if tokens.at + 2 < len(texts) else ""
            if not is_name(register):
                tokens.fail("expected a register", index=tokens.at + 2)
            tokens.at += 3
            return Reg(thread, register)
        return Mem(self._variable(token))

    def _variable(self, token: str) -> int:
        tokens = self.tokens
        bracketed = token == "["
        if bracketed:
            tokens.at += 1
            token = tokens.texts[tokens.at]
        if not is_name(token) or token in _WORDS:
            tokens.fail(f"expected a register or a variable, found {shown(token)}")
        if token not in self.known.addresses:
            # herd shows such a variable as 0; here it is far more likely a slip.
            self.known.address(token)
        address = read_value(tokens, self.known)
        if bracketed:
            tokens.expect("]", "after a variable")
        return address


_WORDS = frozenset({"exists", "forall", "locations", "filter", "not"})


def _equal(place: Observed, value: int) -> Formula:
    return Compare("eq", place, value)


def _in_order(places: Iterable[Observed], known: Globals) -> tuple[Observed, ...]:
    """Registers by thread and name, then variables by name, each once, as herd prints."""
    names = {address: name for name, address in known.symbols().items()}

    def key(place: Observed) -> tuple[int, int, str]:
        if isinstance(place, Reg):
            return (0, place.thread, place.local)
        return (1, 0, names.get(place.address, ""))

    return tuple(sorted(set(places), key=key))
