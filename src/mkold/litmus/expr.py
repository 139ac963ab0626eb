"""C expressions, lowered while they are read.

Whatever touches memory becomes a statement in ``out``; what is left is a pure expression
with its C type (``arithmetic``). ``p + i`` moves by ``i`` words. ``&&``, ``||`` and ``?:``
evaluate only what they need when an operand touches memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.base.errors import Pos
from mkold.ir.nodes import Assign, Const, Expr, If, Local, Op, Stmt
from mkold.ir.prims import VAL
from mkold.litmus import arithmetic
from mkold.litmus.arithmetic import BINARY, Value
from mkold.litmus.calls import read_call
from mkold.litmus.initial import is_name, is_word, number
from mkold.litmus.macros import BUILTIN_NAMES
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown
from mkold.litmus.types import INT, LONG, TYPE_WORDS, Type, read_type

MAX_DEPTH = 60


class Expressions:
    """Reads expressions of one thread; statements they need go to ``out``.

    ``addresses`` are the parameters; ``objects`` the words that an access may be to.
    """

    __slots__ = (
        "addresses", "assigned", "depth", "locals", "n_temps", "objects", "out", "placed",
        "tokens", "types", "unset",
    )  # fmt: skip

    def __init__(
        self, tokens: Tokens, addresses: Mapping[str, Value], objects: Mapping[int, Type], *,
        placed: bool = True,
    ) -> None:  # fmt: skip
        self.tokens = tokens
        self.placed = placed  # whether statements know where they stand
        self.addresses, self.objects = addresses, objects
        self.out: list[Stmt] = []
        self.locals: dict[str, Local] = {}
        self.types: dict[str, Type] = {}  # of the registers
        self.assigned: set[str] = set()  # on every path to here
        self.unset: dict[str, int] = {}  # read before they are surely assigned, and where
        self.n_temps = self.depth = 0

    # --- values -----------------------------------------------------------------------

    def expression(self) -> Value:
        """A whole expression, ``?:`` included."""
        self.deeper()
        cond = self._binary(1)
        if self.tokens.texts[self.tokens.at] == "?":
            cond = self._conditional(cond)
        self.depth -= 1
        return cond

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.tokens.fail(f"nested more than {MAX_DEPTH} deep", kind=UnsupportedSourceError)

    def _binary(self, least: int) -> Value:
        left = self._unary()
        tokens = self.tokens
        texts = tokens.texts
        while True:
            sign = texts[tokens.at]
            row = BINARY.get(sign)
            if row is None or row[0] < least:
                return left
            start = tokens.at
            tokens.at += 1
            if not row[1]:
                left = self._shortcut(sign, left, row[0] + 1)
            else:
                left = self.combined(sign, left, self._binary(row[0] + 1), start)

    def combined(self, sign: str, left: Value, right: Value, start: int) -> Value:
        """``left sign right``; ``start``: where the operator stands."""
        if reason := arithmetic.undefined(sign, left, right):
            self.tokens.fail(reason, index=start)
        if sign in ("/", "%"):
            self._check_divisor(right, start)
        return arithmetic.binary(sign, left, right)

    def _check_divisor(self, divisor: Value, start: int) -> None:
        if divisor.low > 0 or divisor.high < 0:
            return
        zero = arithmetic.fold("eq", divisor.expr, Const(0))
        self.out.append(Op("division_by_zero", (), (zero,), "", self.pos(start)))

    def _unary(self) -> Value:
        tokens = self.tokens
        token = tokens.texts[tokens.at]
        if is_word(token):
            if token[0].isdigit():
                return self._integer(token)
            return self._named(token)
        if token == "(":
            return self._parenthesis()
        if token == "*":
            start = tokens.at
            tokens.at += 1
            self.deeper()
            address = self._unary()
            self.depth -= 1
            return self._load(address, start)
        return self._operator(token)

    def _operator(self, token: str) -> Value:
        tokens = self.tokens
        tokens.at += 1
        self.deeper()
        try:
            if token in ("-", "~", "!", "+"):
                return arithmetic.unary(token, self._unary())
            if token == "&":
                return self.lvalue("&")
        finally:
            self.depth -= 1
        tokens.at -= 1
        if token in ("++", "--"):
            tokens.fail(f"'{token}' inside an expression", kind=UnsupportedSourceError)
        raise tokens.error(f"expected a value, found {shown(token)}")

    def _integer(self, token: str) -> Value:
        value = number(token)
        if value is None:
            self.tokens.fail(f"{shown(token)} is no 64-bit integer")
        self.tokens.at += 1
        if value <= INT.high and token.isdecimal():
            return arithmetic.constant(value, INT)
        suffix = token.lstrip("0123456789abcdefABCDEFxX")
        return arithmetic.literal(value, suffix, decimal=token[0] != "0")

    def _parenthesis(self) -> Value:
        tokens = self.tokens
        tokens.at += 1
        if tokens.texts[tokens.at] in TYPE_WORDS:
            kind = self.read_type()
            tokens.expect(")", "after the type of a cast")
            self.deeper()
            value = self._unary()
            self.depth -= 1
            return arithmetic.convert(value, kind)
        value = self.expression()
        tokens.expect(")", "after an expression")
        return value

    def read_type(self) -> Type:
        """A type: of a cast, or before the names of a declaration."""
        tokens = self.tokens
        texts = tokens.texts
        start = tokens.at
        while texts[tokens.at] in TYPE_WORDS or texts[tokens.at] == "*":
            tokens.at += 2 if texts[tokens.at] == "struct" else 1
        return read_type(texts[start : tokens.at])

    def _named(self, token: str) -> Value:
        """A variable, or a call of a macro."""
        tokens = self.tokens
        after = tokens.texts[tokens.at + 1]
        if after == "(" or (after == "{" and token in BUILTIN_NAMES):
            value = read_call(self, wanted=True)
            assert value is not None
            return value
        if after == "[":
            start = tokens.at
            return self._load(self.lvalue(token), start)
        if after in (".", "->"):
            self.no_structs()
        if token in TYPE_WORDS:
            tokens.fail(f"expected a value, found the type word {shown(token)}")
        if token == "sizeof":
            tokens.fail("sizeof", kind=UnsupportedSourceError)
        tokens.at += 1
        return self.name(token)

    def name(self, token: str) -> Value:
        """The value of a parameter or local."""
        address = self.addresses.get(token)
        if address is not None:
            return address
        if token == "NULL":
            return arithmetic.constant(0, LONG)
        if token in ("true", "false"):
            return arithmetic.constant(int(token == "true"), INT)
        if token not in self.assigned:
            if token == VAL and token not in self.types:
                reason = f"{VAL} has a value only inside a condition that is awaited"
                self.tokens.fail(reason, index=self.tokens.at - 1)
            self.unset.setdefault(token, self.tokens.at - 1)
        return arithmetic.of(self.local(token), self.types.get(token, INT))

    def local(self, name: str) -> Local:
        found = self.locals.get(name)
        if found is None:
            found = self.locals[name] = Local(name)
        return found

    def temporary(self) -> str:
        self.n_temps += 1
        return f"${self.n_temps}"

    # --- places -----------------------------------------------------------------------

    def lvalue(self, asked_by: str) -> Value:
        """The address of ``*e``, ``a[i]`` or a parenthesised place."""
        tokens = self.tokens
        texts = tokens.texts
        token = texts[tokens.at]
        if token == "*":
            tokens.at += 1
            self.deeper()
            address = self._unary()
            self.depth -= 1
            return address
        if token == "(":
            tokens.at += 1
            self.deeper()
            address = self.lvalue(asked_by)
            self.depth -= 1
            tokens.expect(")", "after a place")
            return address
        if is_name(token):
            after = texts[tokens.at + 1]
            if after == "[":
                tokens.at += 1
                base = self.name(token)
                tokens.at += 1
                index = self.expression()
                tokens.expect("]", "after an index")
                return arithmetic.binary("+", base, index)
            if after in (".", "->"):
                self.no_structs()
            tokens.fail(
                f"{asked_by} needs a place in memory, and '{token}' is a register or a pointer",
                hint=f"write '*{token}'",
            )
        raise tokens.error(f"expected a place in memory, found {shown(token)}")

    def over_val(self, kind: Type) -> Value:
        """A condition on what is at a place of type ``kind``, which it calls ``VAL``."""
        start, n_before = self.tokens.at, len(self.out)
        if VAL in self.types or VAL in self.unset:
            self.tokens.fail(f"{VAL} is what is at the place here", hint="rename the register")
        self.types[VAL] = kind
        self.assigned.add(VAL)
        condition = self.expression()
        del self.types[VAL]
        self.assigned.remove(VAL)
        if len(self.out) > n_before:
            self.tokens.fail(
                f"a condition on {VAL} that reads memory", index=start,
                kind=UnsupportedSourceError, hint="read it before, into a register",
            )  # fmt: skip
        return condition

    def no_structs(self) -> None:
        self.tokens.fail(
            "struct members", index=self.tokens.at + 1, kind=UnsupportedSourceError,
            hint="litmus tests have one variable a place; use an array or variables",
        )  # fmt: skip

    def place(self, address: Value, start: int) -> Type:
        """The type of the object at ``address``, which must be one; for an access."""
        target = address.type.target or LONG
        if not isinstance(address.expr, Const):
            return target
        kind = self.objects.get(address.expr.value)
        if kind is None:
            self.tokens.fail(
                "an access outside every object" if address.type.target is not None
                else f"{address.low} is no address", index=start,
            )  # fmt: skip
        return kind

    def _load(self, address: Value, start: int) -> Value:
        """A plain load."""
        kind = self.place(address, start)
        name = self.temporary()
        what = self.text(start).lstrip("*")
        self.out.append(Op("load", (name,), (address.expr,), what, self.pos(start)))
        return arithmetic.of(self.local(name), kind)

    def pos(self, start: int) -> Pos | None:
        """From token ``start`` to the last one read."""
        if not self.placed:
            return None
        tokens = self.tokens
        last = max(tokens.at - 1, start)
        return tokens.source.pos(
            tokens.starts[start], tokens.starts[last] + len(tokens.texts[last])
        )

    def text(self, start: int) -> str:
        """The source from token ``start`` to the last one read."""
        if not self.placed:
            return ""
        tokens = self.tokens
        last = tokens.at - 1
        end = tokens.starts[last] + len(tokens.texts[last])
        return tokens.source.text[tokens.starts[start] : end]

    # --- branches ---------------------------------------------------------------------

    def _apart(self, least: int) -> tuple[Value, list[Stmt]]:
        """An operand, its statements kept apart; 0 for a whole expression."""
        outer, self.out = self.out, []
        known = set(self.assigned)
        value = self._binary(least) if least else self.expression()
        self.assigned = known
        inner, self.out = self.out, outer
        return value, inner

    def _shortcut(self, sign: str, left: Value, least: int) -> Value:
        start = self.tokens.at
        right, inner = self._apart(least)
        a, b = arithmetic.truth(left).expr, arithmetic.truth(right).expr
        if not inner:
            both = arithmetic.fold("and" if sign == "&&" else "or", a, b)
            return Value(both, INT, 0, 1)
        name = self.temporary()
        at = self.pos(start)
        self.out.append(Assign(name, a, at))
        cond: Expr = self.local(name)
        if sign == "||":
            cond = arithmetic.unary_word("lnot", cond)
        self.out.append(If(cond, (*inner, Assign(name, b, at)), (), at))
        return Value(self.local(name), INT, 0, 1)

    def _conditional(self, cond: Value) -> Value:
        start = self.tokens.at
        self.tokens.at += 1
        a, then = self._apart(0)
        self.tokens.expect(":", "between the two values of '?:'")
        b, orelse = self._apart(0)
        if not then and not orelse:
            return arithmetic.choice(cond, a, b)
        a, b = arithmetic.alike(a, b)
        name = self.temporary()
        at = self.pos(start)
        yes, no = Assign(name, a.expr, at), Assign(name, b.expr, at)
        self.out.append(If(cond.expr, (*then, yes), (*orelse, no), at))
        return Value(self.local(name), a.type, *arithmetic.spread(a, b))
