"""Fold accesses into a trace: merge runs, number pages, in bounded memory.

Accesses arrive in batches and only what a trace holds is kept. Page numbers can't be given
before all pages are known, so each *piece* keeps its own table of pages and small indices
into it; the numbers are put in at the end. When the pieces in memory exceed
``SPILL_ROWS`` they go to a temporary file, which has no name and so is never left behind.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import InputError, LimitError
from mkold.base.output import write_all
from mkold.trace.accesses import Accesses
from mkold.trace.schema import (
    MAX_PAGES,
    MAX_REGIONS,
    MAX_RUN,
    PAGE_SIZE,
    U8,
    U32,
    U64,
    Header,
    Region,
    Trace,
)

PIECE_ROWS = 1 << 21
SPILL_ROWS = 1 << 24  # 9 bytes each


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows in order; ``page`` indexes ``vpns``, which is sorted."""

    vpns: U64
    page: U32
    write: U8
    run: U32


@dataclass(frozen=True, slots=True)
class Spilled:
    """A piece that lies in the file from ``start`` on, its pages and then its rows."""

    start: int
    n_pages: int
    n_rows: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trace comes from: the part of its header that counting can't tell."""

    command: str
    source: str
    instructions: bool = False
    stopped: str = "end"
    exit_status: int | None = None


class NoRoomError(LimitError):
    """What memory does not hold can't be written; what was taken before is still there."""


class Folder:
    """Takes accesses, gives a trace.

    Use as a context manager: leaving it removes what was spilled.

    Parameters
    ----------
    max_accesses : stop taking accesses after so many; None for no bound
    spill_rows : rows held in memory
    """

    def __init__(
        self, max_accesses: int | None = None, *, spill_rows: int = SPILL_ROWS
    ) -> None:
        self.n_accesses = 0
        self.n_rows = 0
        self._n_writes = 0
        self._max = max_accesses
        self._spill_rows = spill_rows
        self._pending: list[tuple[U64, U8, U32]] = []
        self._n_pending = 0
        self._open: tuple[int, int, int] | None = None  # the run that may still grow
        self._pieces: list[Piece | Spilled] = []
        self._n_held = 0
        self._vpns = np.empty(0, np.uint64)
        self._spill: IO[bytes] | None = None
        self._no_room = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spill is not None:
            self._spill.close()

    @property
    def full(self) -> bool:
        """Whether ``max_accesses`` was reached."""
        return self._max is not None and self.n_accesses >= self._max

    def add(self, batch: Accesses) -> None:
        """Take accesses that follow those taken before.

        Raises
        ------
        LimitError : more than ``MAX_PAGES`` pages
        NoRoomError : the folder for temporary files is full; what was taken stays
        """
        vpn, write = batch.vpn, batch.write
        if batch.run is not None:
            self._add_rows(vpn, write, batch.run.astype(np.uint64))
            return
        if self._max is not None:
            room = max(0, self._max - self.n_accesses)
            vpn, write = vpn[:room], write[:room]
        if not len(vpn):
            return
        starts = _changes(vpn, write)
        run = np.diff(starts, append=len(vpn)).astype(np.uint32)
        self.n_accesses += len(vpn)
        self._n_writes += int(np.count_nonzero(write))
        self._push(vpn[starts], write[starts], run)

    def _add_rows(self, vpn: U64, write: U8, run: U64) -> None:
        """Take rows of at most ``MAX_RUN >> 1`` accesses each."""
        if self._max is not None:
            before = np.cumsum(run) - run
            room = np.uint64(max(0, self._max - self.n_accesses))
            kept = int(np.count_nonzero(before < room))
            vpn, write = vpn[:kept], write[:kept]
            run = np.minimum(run[:kept], room - before[:kept])
        if not len(vpn):
            return
        starts = _changes(vpn, write)
        total = np.add.reduceat(run, starts)
        if int(total.max()) > MAX_RUN >> 1:
            starts, total = np.arange(len(vpn)), run
        self.n_accesses += int(run.sum())
        self._n_writes += int(run[write != 0].sum())
        self._push(vpn[starts], write[starts], total.astype(np.uint32))

    def header(self, origin: Origin) -> Header:
        """Close the last run and count. Nothing may be added after.

        Raises
        ------
        InputError : nothing was recorded
        LimitError : the pages lie in more than ``MAX_REGIONS`` stretches
        """
        self._close()
        with contextlib.suppress(NoRoomError):  # it stays in memory
            self._seal()
        if not self.n_accesses:
            raise InputError(f"no memory accesses found in {origin.command or 'the input'}")
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        return Header(
            command=origin.command,
            date=now.isoformat(),
            source=origin.source,
            stopped=origin.stopped,
            exit_status=origin.exit_status,
            instructions=origin.instructions,
            page_size=PAGE_SIZE,
            n_accesses=self.n_accesses,
            n_reads=self.n_accesses - self._n_writes,
            n_writes=self._n_writes,
            n_rows=self.n_rows,
            n_pages=len(self._vpns),
            regions=_regions(self._vpns),
        )

    def pieces(self) -> Iterator[tuple[U32, U8, U32]]:
        """The rows with their final page numbers, piece by piece; after ``header``."""
        for stored in self._pieces:
            piece = self._load(stored) if isinstance(stored, Spilled) else stored
            number = np.searchsorted(self._vpns, piece.vpns).astype(np.uint32)
            yield number[piece.page], piece.write, piece.run

    def trace(self, origin: Origin) -> Trace:
        """The whole trace in memory."""
        header = self.header(origin)
        page, write, run = (np.concatenate(part) for part in zip(*self.pieces(), strict=True))
        return Trace(page, write, run, header)

    def _push(self, vpn: U64, write: U8, run: U32) -> None:
        """Queue merged rows, all but the last, which may go on in the next batch."""
        if self._open is not None:
            page, kind, length = self._open
            if page == int(vpn[0]) and kind == int(write[0]) and length < MAX_RUN >> 1:
                run[0] += length
            else:
                self._close()
        self._open = (int(vpn[-1]), int(write[-1]), int(run[-1]))
        self._queue(vpn[:-1], write[:-1], run[:-1])

    def _close(self) -> None:
        if self._open is not None:
            page, kind, length = self._open
            self._open = None
            self._queue(
                np.array([page], np.uint64),
                np.array([kind], np.uint8),
                np.array([length], np.uint32),
            )

    def _queue(self, vpn: U64, write: U8, run: U32) -> None:
        self._pending.append((vpn, write, run))
        self._n_pending += len(vpn)
        self.n_rows += len(vpn)
        if self._n_pending >= PIECE_ROWS:
            self._seal()

    def _seal(self) -> None:
        """Turn the queued rows into a piece and note its pages."""
        if not self._n_pending:
            return
        vpn, write, run = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        self._pending, self._n_pending = [], 0
        vpns, page = np.unique(vpn, return_inverse=True)
        self._vpns = np.union1d(self._vpns, vpns)
        if len(self._vpns) > MAX_PAGES:
            raise LimitError(f"the trace touches more than {MAX_PAGES} pages")
        self._pieces.append(Piece(vpns, page.astype(np.uint32), write, run))
        self._n_held += len(page)
        if self._n_held > self._spill_rows:
            self._spill_all()

    def _spill_all(self) -> None:
        if self._no_room:
            return
        try:
            if self._spill is None:
                self._spill = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            for at, piece in enumerate(self._pieces):
                if isinstance(piece, Piece):
                    self._pieces[at] = _stored(piece, self._spill)
        except OSError as error:
            self._no_room = True
            raise NoRoomError(
                f"no room in {tempfile.gettempdir()}: {error.strerror}"
            ) from error
        self._n_held = 0

    def _load(self, at: Spilled) -> Piece:
        assert self._spill is not None
        self._spill.seek(at.start)
        vpns = np.fromfile(self._spill, np.uint64, at.n_pages)
        page, run = (np.fromfile(self._spill, np.uint32, at.n_rows) for _ in range(2))
        return Piece(vpns, page, np.fromfile(self._spill, np.uint8, at.n_rows), run)


def _stored(piece: Piece, file: IO[bytes]) -> Spilled:
    start = file.seek(0, os.SEEK_END)
    try:
        for column in (piece.vpns, piece.page, piece.run, piece.write):
            write_all(file.fileno(), column.data)
    except OSError:
        file.truncate(start)
        raise
    return Spilled(start, len(piece.vpns), len(piece.page))


def _changes(vpn: U64, write: U8) -> NDArray[np.intp]:
    """Where page or kind is not that of the access before; 0 too."""
    starts = np.flatnonzero((vpn[1:] != vpn[:-1]) | (write[1:] != write[:-1])) + 1
    return np.concatenate((np.zeros(1, starts.dtype), starts))


def _regions(vpns: U64) -> tuple[Region, ...]:
    """Maximal stretches of consecutive pages in a sorted, non-empty array."""
    breaks = np.flatnonzero(np.diff(vpns) != 1) + 1
    if len(breaks) >= MAX_REGIONS:
        raise LimitError(
            f"the trace's pages lie in {len(breaks) + 1:,} separate stretches; "
            f"at most {MAX_REGIONS:,} are held"
        )
    firsts = np.concatenate((np.zeros(1, breaks.dtype), breaks))
    lengths = np.diff(firsts, append=len(vpns))
    return tuple(
        Region(int(page), int(n), int(vpns[page]))
        for page, n in zip(firsts, lengths, strict=True)
    )
