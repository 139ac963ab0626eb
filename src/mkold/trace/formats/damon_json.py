"""What ``damo record`` keeps, and what ``damo report access --json`` prints: JSON.

Also packed by zlib, as damo packs it. Snapshots are found wherever they lie: an object with a
list ``regions`` whose entries have ``start``, ``end`` and ``nr_accesses``. Numbers may be
numbers, or texts with commas; ``nr_accesses`` may be an object that has ``samples``. A trace is
drawn as it is from DAMON's text (``damon``).

Source: damo's repository, what ``damo record --output_type json`` keeps (versions 1.8 to 2.5).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mkold.base.errors import InputError
from mkold.base.files import MOST_BYTES
from mkold.trace.accesses import Accesses
from mkold.trace.formats import records, synthetic
from mkold.trace.formats.damon import stretch, told
from mkold.trace.formats.reading import Reading
from mkold.trace.formats.synthetic import Scene

LOOKS = records.search(rb'\A\s*[\[{][\s\S]*"(regions|nr_accesses|kdamond_idx)"')


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Draw a trace from what is said.

    Raises
    ------
    SourceError : not JSON
    InputError : it is too long, or a region is none
    """
    text = bytearray()
    for chunk in chunks:
        text += chunk
        if len(text) > MOST_BYTES:
            raise InputError(f"{reading.name}: longer than {MOST_BYTES:,} bytes of JSON")
    scenes = [
        Scene.of(regions) for regions in _snapshots(_parsed(bytes(text), reading), reading)
    ]
    told(scenes, reading)
    yield from synthetic.draw(scenes, reading.seed)


def _parsed(text: bytes, reading: Reading) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = text.split(b"\n")[error.lineno - 1]
        raise reading.wrong(
            error.lineno - 1, line[:200], error.colno, f"this is not JSON: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{reading.name}: this is not JSON: {type(error).__name__}") from error


def _snapshots(body: Any, reading: Reading) -> Iterator[list[tuple[int, int, float]]]:
    """The regions of each snapshot, in the order of the file."""
    waiting = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += reversed(node)
        elif isinstance(node, dict):
            regions = node.get("regions")
            if isinstance(regions, list):
                yield [_region(entry, reading) for entry in regions]
            waiting += [node[key] for key in reversed(node) if key != "regions"]


def _region(entry: Any, reading: Reading) -> tuple[int, int, float]:
    try:
        uses = entry["nr_accesses"]
        if isinstance(uses, dict):
            uses = uses.get("samples", uses.get("percent"))
        start, end = _number(entry["start"]), _number(entry["end"])
        if not 0 <= start < end <= 1 << 64:
            raise ValueError
        return stretch(int(start), int(end), _number(uses))
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InputError(
            f"{reading.name}: a region has no proper start, end and nr_accesses: "
            f"{json.dumps(entry)[:120]}"
        ) from error


def _number(value: Any) -> float:
    """A number, or a text that is one."""
    if isinstance(value, str):
        value = value.replace(",", "").rstrip(" %")
        value = int(value) if value.isdigit() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError
    return value
