"""S-expressions with the place of every part."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mkold.base.errors import Pos
from mkold.lang.meaning.source import Source


@dataclass(frozen=True)
class Node:
    """A list of nodes, a number, or a name."""

    what: tuple[Node, ...] | int | str
    at: Pos

    @property
    def head(self) -> str:
        first = self.what[0].what if isinstance(self.what, tuple) and self.what else ""
        return first if isinstance(first, str) else ""

    @property
    def rest(self) -> tuple[Node, ...]:
        assert isinstance(self.what, tuple)
        return self.what[1:]


def read(text: str, file: str) -> tuple[Source, list[Node]]:
    source = Source(file, tuple(text.splitlines()))
    stack: list[tuple[Pos, list[Node]]] = [(Pos(file, 1), [])]
    for number, line in enumerate(source.lines, 1):
        for found in re.finditer(r"[()]|[^\s()]+", line.partition(";")[0]):
            at = Pos(file, number, found.start() + 1, found.end() + 1)
            word = found.group()
            if word == "(":
                stack.append((at, []))
            elif word == ")":
                if len(stack) == 1:
                    raise source.error(at, "a parenthesis too many")
                start, inner = stack.pop()
                end = at.end if start.line == at.line else len(source.line(start.line)) + 1
                node = Node(tuple(inner), Pos(file, start.line, start.col, end))
                stack[-1][1].append(node)
            else:
                is_number = re.fullmatch(r"-?\d+", word)
                stack[-1][1].append(Node(int(word) if is_number else word, at))
    if len(stack) > 1:
        raise source.error(stack[-1][0], "this parenthesis is never closed")
    return source, stack[0][1]
