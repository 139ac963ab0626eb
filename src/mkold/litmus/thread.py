"""One thread of a litmus test: its registers and its body, as a function."""

from __future__ import annotations

from collections.abc import Mapping

from mkold.ir.nodes import Assign, Const, Function
from mkold.litmus.arithmetic import Value
from mkold.litmus.body import Body
from mkold.litmus.globals import Globals
from mkold.litmus.simple import ParameterAssignedError
from mkold.litmus.source import Tokens
from mkold.litmus.types import Type


def lower(
    tokens: Tokens,
    name: str,
    addresses: Mapping[str, Value],
    registers: Mapping[str, int],
    known: Globals,
    objects: Mapping[int, Type],
    *,
    placed: bool = True,
) -> tuple[Function, dict[str, Type]]:
    """Read a thread's body, the opening brace being stepped over; its registers' types.

    ``addresses``: the parameters. ``registers``: initial values. ``known``: all shared
    variables, of which a thread sees only its parameters; ``objects``: their words. A
    parameter that is assigned to becomes a register that holds the address at first.
    ``placed``: statements get their place in the source.
    """
    start = tokens.at
    kept = {name: value for name, value in addresses.items() if name not in registers}
    moved: dict[str, Value] = {}
    while True:
        body = Body(tokens, kept, objects, placed=placed)
        body.types |= {name: value.type for name, value in moved.items()}
        body.assigned.update(registers, moved)
        try:
            done = body.thread()
        except ParameterAssignedError as assigned:
            moved[assigned.args[0]] = kept.pop(assigned.args[0])
            tokens.at = start
            continue
        break
    for register, index in body.unset.items():
        if register in known.addresses and register not in body.declared:
            tokens.fail(
                f"'{register}' is no parameter of {name}", index=index,
                hint="a thread sees only the shared variables that it takes as parameters",
            )  # fmt: skip
    head = [Assign(r, Const(0)) for r in sorted(body.unset)]
    head += [Assign(r, Const(_cut(value, body.types.get(r)))) for r, value in registers.items()]
    head += [Assign(r, address.expr) for r, address in moved.items()]
    return Function(name, (), (*head, *done)), body.types


def _cut(word: int, kind: Type | None) -> int:
    return word if kind is None or kind.target is not None else kind.word(word)
