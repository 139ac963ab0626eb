"""Lists the candidates that the locations of one choice of paths make.

``locations`` lists, word by word, coherence orders and sources of reads; candidates are
their product. A choice (which coherence order, which sources for a thread's reads) is a
digit of the candidate's number; the mask of "digit d is j" is a run of ones tiled over all
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from mkold.lkmm.graph.values import Constraint
from mkold.lkmm.masks.candidates import Candidates
from mkold.lkmm.masks.cohere import OrderTable
from mkold.lkmm.masks.locations import Location
from mkold.lkmm.masks.numbering import Numbering, compress_all
from mkold.lkmm.masks.settle import settle_values
from mkold.lkmm.paths.paths import Act

Readers = list[tuple[int, list[Act]]]  # a thread's digit, and its reads


def list_candidates(
    acts: Mapping[int, Act], locations: Sequence[Location], constraints: Sequence[Constraint]
) -> Candidates:
    """Every candidate that meets ``constraints``, its values worked out."""
    made = Candidates(acts, locations)
    numbering = Numbering()
    digits: list[tuple[Location, int, Readers]] = []
    for location in locations:
        co_digit = numbering.digit(len(location.orders))
        readers = [
            (numbering.digit(len(vectors)), location.plain_reads(thread))
            for thread, (vectors, _) in location.choices.items()
        ]
        digits.append((location, co_digit, readers))
    made.n = numbering.total
    rows = numbering.full
    for location, co_digit, readers in digits:
        rows &= _masks(made, numbering, location, co_digit, readers)
    _keep(made, rows)
    settle_values(made)
    rows = made.rows
    for constraint in constraints:
        rows &= made.where(constraint)
    if rows != made.rows:
        _keep(made, rows)
    return made


def _masks(
    made: Candidates, numbering: Numbering, location: Location, co_digit: int, readers: Readers
) -> int:
    """Fill ``rf``, ``co``, ``last`` for one location; the mask of what stands."""
    table = OrderTable(location.orders, tuple(location.writes))
    spread = partial(numbering.spread, co_digit)
    for write, later, numbers in table.pairs():
        made.co.setdefault(write, {})[later] = spread(numbers)
    for write, act in location.writes.items():
        if act.rmw >= 0 and not location.free:
            made.rf[act.rmw] = {
                source: spread(numbers) for source, numbers in table.before(write)
            }
    made.last[location.address] = {write: spread(numbers) for write, numbers in table.last()}
    return _reads(made, numbering, location, co_digit, readers) if readers else numbering.full


def _reads(
    made: Candidates, numbering: Numbering, location: Location, co_digit: int, readers: Readers
) -> int:
    """Fill ``rf`` of the reads that choose a source; where they agree with the order."""
    stands = [numbering.mask(co_digit, j) for j in range(len(location.orders))]
    for (digit, reads), (vectors, sets) in zip(readers, location.choices.values(), strict=True):
        masks = [numbering.mask(digit, j) for j in range(len(vectors))]
        for vector, mask in zip(vectors, masks, strict=True):
            for act, source in zip(reads, vector, strict=True):
                sources = made.rf.setdefault(act.id, {})
                sources[source] = sources.get(source, 0) | mask
        for j, possible in enumerate(sets):
            if len(possible) < len(vectors):
                allowed = 0
                for k in possible:
                    allowed |= masks[k]
                stands[j] &= allowed
    whole = 0
    for mask in stands:
        whole |= mask
    return whole


def _keep(made: Candidates, rows: int) -> None:
    """Keep only candidates in ``rows``, renumbering where that pays."""
    tables = [made.rf, made.co, made.last]
    if made.n >= 256 and rows.bit_count() * 4 < made.n:
        made.n = compress_all(rows, made.n, [*tables, made.reads])
        made.rows = (1 << made.n) - 1
        return
    made.rows = rows
    for table in tables:
        for row in table.values():
            for key in list(row):
                mask = row[key] & rows
                if mask:
                    row[key] = mask
                else:
                    del row[key]
