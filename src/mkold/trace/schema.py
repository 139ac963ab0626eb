"""What a trace is: a program's memory accesses, by page, in order.

Rules
-----
1. A row is a *run*: ``run`` consecutive accesses to one page, all reads or all writes.
   Two neighbouring rows differ in page or kind (a longer run than ``MAX_RUN`` is split).
2. Time is counted in accesses. Row i starts at the sum of the runs before it.
3. Pages are numbered densely from 0 in the order of their addresses, so that pages which
   were neighbours in the program stay neighbours. The header's regions map them back: a
   region is a maximal stretch of touched pages without a hole.
4. An access that crosses a page boundary is one access to each page it touches; an access
   that modifies (read and write) is a read and then a write.

Known limits: one address space; threads of the program are interleaved as the recorder
serialised them; pages are those of the program's virtual addresses, not of its files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import InputError

SCHEMA = "mkold.trace/1"
PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
MAX_RUN = (1 << 31) - 1
MAX_REGIONS = 1 << 20  # a header holds them all, some 400 bytes of memory each
MAX_PAGES = 1 << 26  # 256 GiB touched: far more than a replay can hold

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of touched pages: ``page`` is its first number, ``vpn`` its first address.

    ``vpn`` is the program's virtual address divided by the page size.
    """

    page: int
    n_pages: int
    vpn: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a trace says about itself.

    Parameters
    ----------
    command : the recorded command as typed, or what was imported
    date : when it was recorded, UTC, ISO 8601
    source : the recorder, with its version
    stopped : why the recording ended: "end", "max-accesses", "interrupted", "no room"
    exit_status : of the command; None when unknown or not waited for
    instructions : whether instruction fetches were recorded (as reads)
    page_size : bytes
    n_accesses, n_reads, n_writes, n_rows, n_pages : totals
    regions : in the order of their pages
    """

    command: str
    date: str
    source: str
    stopped: str
    exit_status: int | None
    instructions: bool
    page_size: int
    n_accesses: int
    n_reads: int
    n_writes: int
    n_rows: int
    n_pages: int
    regions: tuple[Region, ...]

    def to_json(self) -> dict[str, Any]:
        """The header as JSON values; regions as ``[page, n_pages, vpn]``."""
        body = asdict(self)
        body["regions"] = [[r.page, r.n_pages, r.vpn] for r in self.regions]
        return {"schema": SCHEMA, **body}

    @classmethod
    def from_json(cls, body: Any) -> Header:
        """Read what ``to_json`` wrote; every field is required and typed.

        Raises
        ------
        InputError : not a header of this schema
        """
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            found = body.get("schema") if isinstance(body, dict) else type(body).__name__
            raise InputError(f"not a trace of schema {SCHEMA} (found {str(found)[:60]!r})")
        values = {name: _field(body, name, kind) for name, kind in _FIELDS.items()}
        return cls(**values, regions=tuple(_region(entry) for entry in _list(body)))


_FIELDS: dict[str, tuple[type, ...]] = {
    "command": (str,),
    "date": (str,),
    "source": (str,),
    "stopped": (str,),
    "exit_status": (int, type(None)),
    "instructions": (bool,),
    "page_size": (int,),
    "n_accesses": (int,),
    "n_reads": (int,),
    "n_writes": (int,),
    "n_rows": (int,),
    "n_pages": (int,),
}


def _field(body: dict[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    value = body.get(name)
    wrong_bool = isinstance(value, bool) and bool not in kinds
    if name not in body or not isinstance(value, kinds) or wrong_bool:
        raise InputError(f"the trace's header has no proper {name!r}")
    if isinstance(value, int) and name != "exit_status" and value < 0:
        raise InputError(f"the trace's header says {name} = {value}")
    return value


def _list(body: dict[str, Any]) -> list[Any]:
    entries = body.get("regions")
    if not isinstance(entries, list):
        raise InputError("the trace's header has no proper 'regions'")
    if len(entries) > MAX_REGIONS:
        raise InputError(f"the trace's header has more than {MAX_REGIONS} regions")
    return entries


def _region(entry: Any) -> Region:
    if (
        not isinstance(entry, list)
        or len(entry) != 3
        or any(type(number) is not int or number < 0 for number in entry)
    ):
        raise InputError("the trace's header has a region that is not three numbers")
    return Region(*entry)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A trace in memory: three arrays of equal length and the header.

    Parameters
    ----------
    page : uint32, dense page number
    write : uint8, 1 for a write, 0 for a read
    run : uint32, number of accesses, at least 1
    """

    page: U32
    write: U8
    run: U32
    header: Header

    COLUMNS: ClassVar[tuple[str, ...]] = ("page", "write", "run")

    def __len__(self) -> int:
        return len(self.page)

    @property
    def n_pages(self) -> int:
        """Footprint in pages; page numbers are below it."""
        return self.header.n_pages

    @property
    def n_accesses(self) -> int:
        """Length in time: the sum of the runs."""
        return self.header.n_accesses

    def time(self) -> U64:
        """When each row starts, in accesses since the beginning."""
        run = self.run.astype(np.uint64)
        return np.cumsum(run) - run

    def vpn(self) -> U64:
        """The program's virtual page number of each page, indexed by dense number."""
        parts = [
            np.arange(r.vpn, r.vpn + r.n_pages, dtype=np.uint64) for r in self.header.regions
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def check(self) -> Trace:
        """Check the rules above and the header's totals; return self.

        Raises
        ------
        InputError : naming what doesn't agree
        """
        header = self.header
        reads = int(self.run[self.write == 0].sum(dtype=np.uint64))
        total = int(self.run.sum(dtype=np.uint64))
        problems = {
            f"the page size is {header.page_size}, not {PAGE_SIZE}": (
                header.page_size != PAGE_SIZE
            ),
            "there are no accesses": total == 0,
            "the number of rows": len(self.page) != header.n_rows,
            "the number of accesses": total != header.n_accesses,
            "the number of reads": reads != header.n_reads,
            "the number of writes": total - reads != header.n_writes,
            f"a run of more than {MAX_RUN} accesses": bool((self.run > MAX_RUN).any()),
            "a run of length 0": bool((self.run == 0).any()),
            "a kind that is neither read nor write": bool((self.write > 1).any()),
            "the number of pages": not _dense(self.page, header.n_pages),
            "the regions": not _tiled(header.regions, header.n_pages),
        }
        for what, wrong in problems.items():
            if wrong:
                raise InputError(f"the trace disagrees with its header: {what}")
        return self


def _dense(page: U32, n_pages: int) -> bool:
    """Every number below ``n_pages`` occurs and no other does."""
    if not 0 < n_pages <= min(MAX_PAGES, len(page)) or int(page.max()) >= n_pages:
        return False
    seen = np.zeros(n_pages, bool)
    seen[page] = True
    return bool(seen.all())


def _tiled(regions: tuple[Region, ...], n_pages: int) -> bool:
    """The regions follow one another in pages and addresses, with a hole between."""
    page, vpn = 0, -1
    for region in regions:
        if region.page != page or region.vpn <= vpn or region.n_pages < 1:
            return False
        page += region.n_pages
        vpn = region.vpn + region.n_pages
    return page == n_pages and vpn <= 1 << (64 - PAGE_SHIFT)
