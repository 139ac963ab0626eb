"""Forms of the toy language, by what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mkold.base.errors import Pos, SourceError
from mkold.ir.prims import PRIMS
from mkold.lang.meaning import arithmetic, calls, control, function, places
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.control import Parts
from mkold.lang.meaning.definition import Checked
from mkold.lang.meaning.function import Parameter
from mkold.lang.meaning.source import Source
from mkold.lang.meaning.values import Operand, Place, Value
from mkold.lang.types import words
from mkold.lang.types.structs import Pointer, Record, StructType, Type

from .read import Node, read

_TYPES = {str(word): word for word in (words.BOOL, words.U8, words.U64, words.S64, words.INT)}
_OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "&": "and", "<<": "shl"}
_COMPARISONS = {"=": "eq", "<": "lt", ">=": "ge"}


def compile_toy(
    text: str, file: str = "toy", known: Mapping[str, Checked] | None = None
) -> dict[str, Checked]:
    """The functions of ``text``, which may call those in ``known``."""
    source, nodes = read(text, file)
    module = _Module(source, file, dict(known or {}))
    for node in nodes:
        if node.head == "struct":
            module.struct(node)
        elif node.head == "fn":
            module.function(node)
        else:
            raise source.error(node.at, "a struct or an fn stands here")
    return module.functions


@dataclass
class _Module:
    source: Source
    name: str
    functions: dict[str, Checked]
    structs: dict[str, StructType] = field(default_factory=dict)

    def struct(self, node: Node) -> None:
        name, *fields = node.rest
        self.structs[str(name.what)] = StructType(
            str(name.what), lambda: [(f.head, self.type(f.rest[0])) for f in fields]
        )

    def type(self, node: Node) -> Type:
        if node.head == "ptr":
            return Pointer(self.type(node.rest[0]))
        if node.what in self.structs:
            return Record(self.structs[str(node.what)])
        if node.what not in _TYPES:
            raise self.source.error(node.at, f"{node.what} is no type")
        return _TYPES[str(node.what)]

    def function(self, node: Node) -> None:
        name, params, results, *body = node.rest
        b = Builder(str(name.what), self.source)
        reader = _Body(self, b)
        made = [Parameter(p.head, self.type(p.rest[0]), p.at) for p in params.what]
        with b.block() as stmts:
            function.begin(b, made, tuple(map(self.type, results.what)))
            reader.statements(body)
        end = body[-1].at if body else node.at
        self.functions[b.name] = function.checked(b, self.name, made, stmts, node.at, end)


@dataclass
class _Body:
    module: _Module
    b: Builder

    def error(self, at: Pos, reason: str) -> SourceError:
        return self.b.error(at, reason)

    def statements(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            self.statement(node)

    def statement(self, node: Node) -> None:
        b, at, rest = self.b, node.at, node.rest
        match node.head:
            case "set":
                self.set(node)
            case "if":
                then, *orelse = rest[1:]
                control.branch(b, self.value(rest[0]), self.body([then]), self.body(orelse), at)
            case "while":
                test, *body = rest
                parts = Parts(self.body(body), test=lambda: self.value(test))
                control.loop(b, parts, at)
            case "do":  # C's: the test comes last
                *body, test = rest
                parts = Parts(self.body(body), last=lambda: self.value(test))
                control.loop(b, parts, at)
            case "block":
                control.block(b, self.body(rest), at)
            case "begin":
                self.statements(rest)
            case "break":
                control.leave(b, at)
            case "continue":
                control.again(b, at)
            case "return":
                function.give(b, [self.value(value) for value in rest], at)
            case _:
                self.operand(node)

    def body(self, nodes: Iterable[Node]) -> Callable[[], None]:
        return lambda: self.statements(nodes)

    def set(self, node: Node) -> None:
        target, value = node.rest[0], self.value(node.rest[1])
        if isinstance(target.what, str):
            places.assign(self.b, target.what, value, node.at)
        else:
            places.store(self.b, self.place(target), value, node.at)

    def value(self, node: Node) -> Value:
        return places.read(self.b, self.operand(node))

    def place(self, node: Node) -> Place:
        found = self.operand(node)
        if not isinstance(found, Place):
            raise self.error(node.at, "a place in memory is needed")
        return found

    def operand(self, node: Node) -> Operand:
        b, at = self.b, node.at
        if isinstance(node.what, int):
            return arithmetic.number(b, node.what, at)
        if isinstance(node.what, str):
            if node.what not in b.types:
                raise self.error(at, f"{node.what} is not defined")
            return places.local(b, node.what, at)
        head, rest, text = node.head, node.rest, b.source.text(at)
        if head == ".":
            return places.field(b, self.operand(rest[0]), str(rest[1].what), at, text)
        if head == "[]":
            return places.element(b, self.operand(rest[0]), self.value(rest[1]), at, text)
        if head in _OPERATORS:
            x, y = map(self.value, rest)
            return arithmetic.operate(b, _OPERATORS[head], x, y, at)
        if head in _COMPARISONS:
            x, y = map(self.value, rest)
            return arithmetic.compare(b, _COMPARISONS[head], x, y, at)
        return self.call(node)

    def call(self, node: Node) -> Operand:
        b, at, rest = self.b, node.at, node.rest
        row = PRIMS.get(node.head)
        if row is not None:
            place = self.place(rest[0]) if row.lvalue and rest else None
            values = [self.value(arg) for arg in rest[row.lvalue :]]
            return calls.primitive(b, row, place, values, at)
        callee = self.module.functions.get(node.head)
        if callee is None:
            raise self.error(at, f"{node.head} is not defined")
        return calls.call(b, callee, [self.value(arg) for arg in rest], at)
