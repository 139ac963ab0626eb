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
from mkold.litmus.initial import is_name, number
from mkold.litmus.macros import ATOMIC_OPS, BUILTIN_NAMES, BUILTINS, MACROS, Macro
from mkold.litmus.source import Tokens, Unsupported, shown

TYPE_WORDS = frozenset(
    """int char short long signed unsigned void volatile const static register bool _Bool
    struct atomic_t atomic64_t atomic_long_t atomic_int spinlock_t raw_spinlock_t rwlock_t
    intptr_t uintptr_t size_t ssize_t srcu_struct _Atomic mutex mtx_t
    u8 u16 u32 u64 s8 s16 s32 s64 int8_t int16_t int32_t int64_t
    uint8_t uint16_t uint32_t uint64_t __int128_t __uint128_t""".split()
)
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
        "addresses",
        "assigned",
        "depth",
        "locals",
        "n_temps",
        "out",
        "tokens",
        "unset",
    )

    def __init__(self, tokens: Tokens, addresses: dict[str, Const]) -> None:
        self.tokens = tokens
        self.addresses = addresses  # of the parameters
        self.out: list[Stmt] = []
        self.locals: dict[str, Local] = {}
        self.assigned: set[str] = set()  # on every path to here
        self.unset: set[str] = set()  # read where they may not be assigned yet
        self.n_temps = self.depth = 0

    # --- values -----------------------------------------------------------------------

    def expression(self) -> Expr:
        """A whole expression, ``?:`` included."""
        self._deeper()
        cond = self._binary(1)
        if self.tokens.texts[self.tokens.at] == "?":
            cond = self._conditional(cond)
        self.depth -= 1
        return cond

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.tokens.fail(f"nested more than {MAX_DEPTH} deep", kind=Unsupported)

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
            left = _fold(row[1], left, right)

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
            self._deeper()
            address = self._unary()
            self.depth -= 1
            return self._load(address, start)
        return self._operator(token)

    def _operator(self, token: str) -> Expr:
        tokens = self.tokens
        tokens.at += 1
        self._deeper()
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
            tokens.fail(f"'{token}' inside an expression", kind=Unsupported)
        tokens.fail(f"expected a value, found {shown(token)}")

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
            self._deeper()
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
            value = self.macro(wanted=True)
            assert value is not None
            return value
        if after == "[":
            start = tokens.at
            return self._load(self.lvalue(token), start)
        if after in (".", "->"):
            self._no_structs()
        if token in TYPE_WORDS:
            tokens.fail(f"expected a value, found the type word {shown(token)}")
        if token == "sizeof":
            tokens.fail("sizeof", kind=Unsupported)
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
            self.unset.add(token)
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
            self._deeper()
            address = self._unary()
            self.depth -= 1
            return address
        if token == "(":
            tokens.at += 1
            self._deeper()
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
                return _fold("add", base, index)
            if after in (".", "->"):
                self._no_structs()
            tokens.fail(
                f"{asked_by} needs a place in memory, and '{token}' is a register or a pointer",
                hint=f"write '*{token}'",
            )
        tokens.fail(f"expected a place in memory, found {shown(token)}")

    def _no_structs(self) -> None:
        self.tokens.fail(
            "struct members", index=self.tokens.at + 1, kind=Unsupported,
            hint="litmus tests have one variable a place; use an array or variables",
        )  # fmt: skip

    def _load(self, address: Expr, start: int) -> Expr:
        """A plain load."""
        name = self.temporary()
        self.out.append(
            Op("load", (name,), (address,), self.text(start).lstrip("*"), self.pos(start))
        )
        return self.local(name)

    def pos(self, start: int) -> Pos:
        """From token ``start`` to the last one read."""
        tokens = self.tokens
        last = tokens.at - 1
        return tokens.source.pos(
            tokens.starts[start], tokens.starts[last] + len(tokens.texts[last])
        )

    def text(self, start: int) -> str:
        """The source from token ``start`` to the last one read."""
        tokens = self.tokens
        last = tokens.at - 1
        end = tokens.starts[last] + len(tokens.texts[last])
        return tokens.source.text[tokens.starts[start] : end]

    # --- macros -----------------------------------------------------------------------

    def macro(self, *, wanted: bool) -> Expr | None:
        """A call; its result, or ``None`` if it has none and none is ``wanted``."""
        tokens = self.tokens
        texts = tokens.texts
        start = tokens.at
        name = texts[start]
        if name in BUILTIN_NAMES:
            return self._builtin(wanted)
        macro = MACROS.get(name)
        if macro is None:
            tokens.fail(
                f"'{name}' is no macro of the Linux-kernel memory model", kind=Unsupported
            )
        if wanted and not macro.has_result:
            tokens.fail(f"{name}() has no value")
        tokens.at += 2
        return self._call(macro, name, start, wanted)

    def _call(self, macro: Macro, name: str, start: int, wanted: bool) -> Expr | None:
        """The arguments after ``(``, and the operation."""
        tokens = self.tokens
        texts = tokens.texts
        what, address, values = "", None, []
        for i, kind in enumerate(macro.signature):
            if i:
                if texts[tokens.at] != ",":
                    self._wrong_count(macro, name)
                tokens.at += 1
            first = tokens.at
            if kind == "v":
                values.append(self.expression())
                continue
            address = self.lvalue(name) if kind == "l" else self.expression()
            what = self.text(first)
            what = what[1:] if kind == "l" and what[:1] == "*" else what
        if texts[tokens.at] != ")":
            self._wrong_count(macro, name)
        tokens.at += 1
        values += [Const(value) for value in macro.extra]
        args = tuple(values) if address is None else (address, *values)
        result = self.temporary() if wanted else ""
        self.out.append(
            Op(macro.prim, (result,) if wanted else (), args, what, self.pos(start))
        )
        return self.local(result) if wanted else None

    def _wrong_count(self, macro: Macro, name: str) -> None:
        n = len(macro.signature)
        found = self.tokens.texts[self.tokens.at]
        self.tokens.fail(
            f"{name}() takes {n} argument{'s' * (n != 1)}; unexpected {shown(found)}"
        )

    def _builtin(self, wanted: bool) -> Expr | None:
        """herd's own words, such as ``__load{once}(*x)``."""
        tokens = self.tokens
        texts = tokens.texts
        start = tokens.at
        name, tag = texts[start], ""
        tokens.at += 1
        if texts[tokens.at] == "{":
            closed = tokens.at + 1
            while texts[closed] not in ("}", ""):
                tag += texts[closed]
                closed += 1
            tokens.at = closed
            tokens.expect("}", "after an annotation")
        if name == "__fence" and texts[tokens.at] != "(":
            tokens.at -= 1  # stands in for the argument list
        else:
            tokens.expect("(", f"after {name}")
        if name in ("__atomic_op", "__atomic_op_return", "__atomic_fetch_op"):
            return self._atomic_op(name, tag, start, wanted)
        macro = BUILTINS.get((name, tag.lower()))
        if macro is None:
            tokens.fail(f"{name}{{{tag}}}", index=start, kind=Unsupported)
        if wanted and not macro.has_result:
            tokens.fail(f"{name} has no value", index=start)
        if name == "__fence" and texts[tokens.at] == "}":
            tokens.at += 1
            self.out.append(Op(macro.prim, (), (), "", self.pos(start)))
            return None
        return self._call(macro, name, start, wanted)

    def _atomic_op(self, name: str, tag: str, start: int, wanted: bool) -> Expr | None:
        """``__atomic_op_return{mb}(x, +, 1)``."""
        tokens = self.tokens
        texts = tokens.texts
        first = tokens.at
        address = self.expression()
        what = self.text(first)
        tokens.expect(",", "before the operator")
        sign = texts[tokens.at]
        tokens.at += 1
        if sign == "&" and texts[tokens.at] == "~":
            sign = "&~"
            tokens.at += 1
        macro = BUILTINS.get((f"{name}{sign}", tag.lower()))
        if sign not in ATOMIC_OPS or macro is None:
            tokens.fail(f"{name}{{{tag}}} with '{sign}'", index=start, kind=Unsupported)
        tokens.expect(",", "after the operator")
        value = self.expression()
        tokens.expect(")", "after the arguments")
        result = self.temporary() if wanted else ""
        if wanted and not macro.has_result:
            tokens.fail(f"{name} has no value", index=start)
        self.out.append(
            Op(macro.prim, (result,) if wanted else (), (address, value), what, self.pos(start))
        )
        return self.local(result) if wanted else None

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
            return _fold("and" if sign == "&&" else "or", a, b)
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
    return _fold("ne", value, Const(0))


def _fold(op: str, a: Expr, b: Expr) -> Expr:
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(evaluate_binary(op, a.value, b.value))
    return Binary(op, a, b)
