"""C expressions, lowered while they are read.

Whatever touches memory becomes a statement in ``out``, evaluated left to right; what is
left is a pure expression. Integers are 64 bits wide and signed; ``p + i`` moves by ``i``
words. ``&&``, ``||`` and ``?:`` evaluate only what they need when an operand touches
memory.

Known limits: herd leaves two loads within one expression unordered by program order; here
the left one comes first.
"""

from __future__ import annotations

from mkold.base.errors import Pos
from mkold.ir.nodes import (
    Assign,
    Binary,
    Const,
    Expr,
    If,
    Local,
    Op,
    Select,
    Stmt,
    Unary,
    evaluate_binary,
    evaluate_unary,
)
from mkold.litmus.calls import read_call
from mkold.litmus.initial import is_name, number
from mkold.litmus.macros import BUILTIN_NAMES
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown

_TYPES = """
    int char short long signed unsigned void volatile const static register bool _Bool
    struct atomic_t atomic64_t atomic_long_t atomic_int spinlock_t raw_spinlock_t rwlock_t
    intptr_t uintptr_t size_t ssize_t srcu_struct _Atomic mutex mtx_t
    u8 u16 u32 u64 s8 s16 s32 s64 int8_t int16_t int32_t int64_t
    uint8_t uint16_t uint32_t uint64_t __int128_t __uint128_t
"""
TYPE_WORDS = frozenset(_TYPES.split())
# Binding strength, and the operator on words (signed where that matters).
_BINARY = {
    "||": (1, ""), "&&": (2, ""), "|": (3, "or"), "^": (4, "xor"), "&": (5, "and"),
    "==": (6, "eq"), "!=": (6, "ne"), "<": (7, "slt"), "<=": (7, "sle"), ">": (7, "slt"),
    ">=": (7, "sle"), "<<": (8, "shl"), ">>": (8, "ashr"), "+": (9, "add"),
    "-": (9, "sub"), "*": (10, "mul"), "/": (10, "sdiv"), "%": (10, "smod"),
}  # fmt: skip
_SWAPPED = frozenset({">", ">="})
_UNARY = {"-": "neg", "~": "not", "!": "lnot"}
_TRUTHS = frozenset({"eq", "ne", "ult", "ule", "slt", "sle"})
MAX_DEPTH = 60


class Expressions:
    """Reads expressions of one thread; statements they need go to ``out``."""

    __slots__ = (
        "addresses", "assigned", "depth", "locals", "n_temps", "out", "placed", "tokens",
        "unset",
    )  # fmt: skip

    def __init__(
        self, tokens: Tokens, addresses: dict[str, Const], *, placed: bool = True
    ) -> None:
        self.tokens = tokens
        self.placed = placed  # whether statements know where they stand
        self.addresses = addresses  # of the parameters
        self.out: list[Stmt] = []
        self.locals: dict[str, Local] = {}
        self.assigned: set[str] = set()  # on every path to here
        self.unset: dict[str, int] = {}  # read before they are surely assigned, and where
        self.n_temps = self.depth = 0

    # --- values -----------------------------------------------------------------------

    def expression(self) -> Expr:
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

    def _binary(self, least: int) -> Expr:
        left = self._unary()
        tokens = self.tokens
        texts = tokens.texts
        while True:
            sign = texts[tokens.at]
            row = _BINARY.get(sign)
            if row is None or row[0] < least:
                return left
            tokens.at += 1
            if not row[1]:
                left = self._shortcut(sign, left, row[0] + 1)
                continue
            right = self._binary(row[0] + 1)
            if sign in _SWAPPED:
                left, right = right, left
            left = fold(row[1], left, right)

    def _unary(self) -> Expr:
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

    def _operator(self, token: str) -> Expr:
        tokens = self.tokens
        tokens.at += 1
        self.deeper()
        try:
            if token in _UNARY:
                operand = self._unary()
                if isinstance(operand, Const):
                    return Const(evaluate_unary(_UNARY[token], operand.value))
                return Unary(_UNARY[token], operand)
            if token == "+":
                return self._unary()
            if token == "&":
                return self.lvalue("&")
        finally:
            self.depth -= 1
        tokens.at -= 1
        if token in ("++", "--"):
            tokens.fail(f"'{token}' inside an expression", kind=UnsupportedSourceError)
        raise tokens.error(f"expected a value, found {shown(token)}")

    def _integer(self, token: str) -> Expr:
        value = number(token)
        if value is None:
            self.tokens.fail(f"{shown(token)} is no 64-bit integer")
        self.tokens.at += 1
        return Const(value)

    def _parenthesis(self) -> Expr:
        tokens = self.tokens
        texts = tokens.texts
        tokens.at += 1
        if texts[tokens.at] in TYPE_WORDS:
            self.skip_type()
            tokens.expect(")", "after the type of a cast")
            self.deeper()
            value = self._unary()
            self.depth -= 1
            return value
        value = self.expression()
        tokens.expect(")", "after an expression")
        return value

    def skip_type(self) -> None:
        """Step over a type; types say nothing that the model needs."""
        tokens = self.tokens
        texts = tokens.texts
        while texts[tokens.at] in TYPE_WORDS or texts[tokens.at] == "*":
            if texts[tokens.at] == "struct":
                tokens.at += 1
            tokens.at += 1

    def _named(self, token: str) -> Expr:
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

    def name(self, token: str) -> Expr:
        """The value of a parameter or local."""
        address = self.addresses.get(token)
        if address is not None:
            return address
        if token == "NULL":
            return Const(0)
        if token not in self.assigned:
            self.unset.setdefault(token, self.tokens.at - 1)
        return self.local(token)

    def local(self, name: str) -> Local:
        found = self.locals.get(name)
        if found is None:
            found = self.locals[name] = Local(name)
        return found

    def temporary(self) -> str:
        self.n_temps += 1
        return f"${self.n_temps}"

    # --- places -----------------------------------------------------------------------

    def lvalue(self, asked_by: str) -> Expr:
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
                return fold("add", base, index)
            if after in (".", "->"):
                self.no_structs()
            tokens.fail(
                f"{asked_by} needs a place in memory, and '{token}' is a register or a pointer",
                hint=f"write '*{token}'",
            )
        raise tokens.error(f"expected a place in memory, found {shown(token)}")

    def no_structs(self) -> None:
        self.tokens.fail(
            "struct members", index=self.tokens.at + 1, kind=UnsupportedSourceError,
            hint="litmus tests have one variable a place; use an array or variables",
        )  # fmt: skip

    def _load(self, address: Expr, start: int) -> Expr:
        """A plain load."""
        name = self.temporary()
        self.out.append(
            Op("load", (name,), (address,), self.text(start).lstrip("*"), self.pos(start))
        )
        return self.local(name)

    def pos(self, start: int) -> Pos | None:
        """From token ``start`` to the last one read."""
        if not self.placed:
            return None
        tokens = self.tokens
        last = tokens.at - 1
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

    def _apart(self, least: int) -> tuple[Expr, list[Stmt]]:
        """An operand, its statements kept apart; 0 for a whole expression."""
        outer, self.out = self.out, []
        known = set(self.assigned)
        value = self._binary(least) if least else self.expression()
        self.assigned = known
        inner, self.out = self.out, outer
        return value, inner

    def _shortcut(self, sign: str, left: Expr, least: int) -> Expr:
        start = self.tokens.at
        right, inner = self._apart(least)
        a, b = truth(left), truth(right)
        if not inner:
            return fold("and" if sign == "&&" else "or", a, b)
        name = self.temporary()
        at = self.pos(start)
        self.out.append(Assign(name, a, at))
        cond: Expr = self.local(name)
        if sign == "||":
            cond = Unary("lnot", cond)
        self.out.append(If(cond, (*inner, Assign(name, b, at)), (), at))
        return self.local(name)

    def _conditional(self, cond: Expr) -> Expr:
        start = self.tokens.at
        self.tokens.at += 1
        a, then = self._apart(0)
        self.tokens.expect(":", "between the two values of '?:'")
        b, orelse = self._apart(0)
        if not then and not orelse:
            return Select(cond, a, b)
        name = self.temporary()
        at = self.pos(start)
        self.out.append(
            If(cond, (*then, Assign(name, a, at)), (*orelse, Assign(name, b, at)), at)
        )
        return self.local(name)


def is_word(token: str) -> bool:
    """Whether the token is a name or a number."""
    return token[:1].isalnum() or token[:1] == "_"


def truth(value: Expr) -> Expr:
    """``value`` as 0 or 1."""
    if isinstance(value, Binary) and value.op in _TRUTHS:
        return value
    if isinstance(value, Unary) and value.op == "lnot":
        return value
    return fold("ne", value, Const(0))


def fold(op: str, a: Expr, b: Expr) -> Expr:
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(evaluate_binary(op, a.value, b.value))
    return Binary(op, a, b)
