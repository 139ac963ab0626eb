"""Names that C allows, for the words that a graph's events speak of."""

from __future__ import annotations

import re

from mkold.base.errors import UnsupportedError
from mkold.ir.program import Mem
from mkold.lkmm.graph.events import NOWHERE, Graph, Node
from mkold.lkmm.known.words import MayValues

MAX_ADDRESSES = 4


def c_name(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


def symbols_of(graph: Graph) -> dict[str, int]:
    """A C name for each word that an event or the question speaks of."""
    program = graph.program
    known = {address: name for name, address in program.symbols.items()}
    events = [node for node in graph.nodes if node.addr != NOWHERE]
    used = {address for node in events for address in addresses_of(graph, node)}
    used |= {place.address for place in program.observed if isinstance(place, Mem)}
    computed = any(len(addresses_of(graph, node)) > 1 for node in events)
    symbols: dict[str, int] = {}
    base, first = "", 0
    for address in sorted(used):
        if computed and base and address == first + _length(symbols, base):
            symbols[f"{base}[{address - first}]"] = address  # stays where it is
            continue
        name = c_name(known.get(address, f"word_{address:x}"))
        if name in symbols or not name[0].isalpha():
            name = f"word_{address:x}"
        symbols[name] = address
        base, first = name, address
    return symbols


def _length(symbols: dict[str, int], base: str) -> int:
    """Words that are named after ``base`` so far."""
    return sum(name == base or name.startswith(f"{base}[") for name in symbols)


def addresses_of(graph: Graph, node: Node) -> list[int]:
    """Where the event may be; the words that are no address of the scenario left out."""
    if isinstance(node.addr, int):
        return [node.addr]
    words = sorted(MayValues(graph).of(node.addr))
    if len(words) > MAX_ADDRESSES:
        raise UnsupportedError(f"{node.what or node.prim} may be at {len(words)} addresses")
    return words
