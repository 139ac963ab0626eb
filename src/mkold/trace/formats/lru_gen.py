"""``/sys/kernel/debug/lru_gen``: pages by generation of the multi-generational LRU.

::

    memcg     1 /
     node     0
              4      91000          0         12
              5      61000        100          0

Columns: the generation's number, milliseconds since it began, anonymous pages, file pages (an
``x`` after a count marks a type that has left the generation). ``lru_gen_full`` has further
lines, which are passed over.

It is a state, not a history: a page of a generation was last used after the generation began
and before the next did. The trace drawn from it uses every page once, oldest generation first
(the anonymous ones are written), and then pages at random, one that was used ``t`` ms ago with
a likelihood of 1/t. Pages have no addresses there and are laid one after another.

Source: Documentation/admin-guide/mm/multigen_lru.rst of Linux 6.1 and later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mkold.trace.accesses import Accesses
from mkold.trace.formats import records, synthetic
from mkold.trace.formats.reading import Reading, blocks
from mkold.trace.formats.synthetic import Scene

LOOKS = records.search(rb"^memcg\s+\d+ \S*\s*\n\s*node\s+\d+")
SAID = (
    "NOT A RECORDING: lru_gen is the state of the multi-generational LRU and has no accesses; "
    "the trace is drawn so that pages come to be as old as that, by a seed (--seed)"
)
MOST_PAGES = 1 << 22  # of the trace; more are thinned out
_HEADING = re.compile(rb"\s*(memcg\s+\d+|node\s+\d+)\b")
_GENERATION = re.compile(rb"\s*(\d{1,20})\s+(\d{1,12})\s+(\d{1,15})x?\s+(\d{1,15})x?\s*")
_FULL = re.compile(rb"[\s\d][a-zA-Z\s\d-]*")


@dataclass(frozen=True, slots=True)
class _Generation:
    age_ms: int
    anon: int
    file: int


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Draw a trace from what is said.

    Raises
    ------
    SourceError : a line is not lru_gen's
    """
    generations: list[_Generation] = []
    for text in blocks(chunks, reading):
        for at, line in enumerate(text.split(b"\n")[:-1]):
            if match := _GENERATION.fullmatch(line):
                generations.append(_Generation(*(int(word) for word in match.groups()[1:])))
            elif line.strip() and not (_HEADING.match(line) or _FULL.fullmatch(line)):
                raise reading.wrong(at, line, 1, "this is not a line of lru_gen")
    yield from _drawn(generations, reading)


def _drawn(generations: list[_Generation], reading: Reading) -> Iterator[Accesses]:
    n_pages = sum(each.anon + each.file for each in generations)
    thin = -(-n_pages // MOST_PAGES) or 1
    stretches, end = [], 0
    oldest = max((each.age_ms for each in generations), default=0)
    for each in sorted(generations, key=lambda found: -found.age_ms):
        anon, file = -(-each.anon // thin), -(-each.file // thin)
        for n, write in ((anon, 1), (file, 0)):
            for start in range(end, end + n, synthetic.BATCH):
                size = min(synthetic.BATCH, end + n - start)
                vpn = np.arange(start, start + size, dtype=np.uint64)
                yield Accesses(vpn, np.full(size, write, np.uint8))
            end += n
        used_every = max(each.age_ms, 1)
        stretches.append((end - anon - file, anon + file, max(oldest, 1) / used_every))
    scene = Scene.of(stretches)
    thinned = f", one in {thin} of them taken" if thin > 1 else ""
    reading.notes.append(
        f"{len(generations)} generations, {n_pages:,} pages{thinned}: each used once, then "
        f"{synthetic.n_drawn([scene]):,} accesses drawn with seed {reading.seed}"
    )
    yield from synthetic.draw([scene], reading.seed)
