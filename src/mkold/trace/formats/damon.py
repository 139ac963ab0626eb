"""What DAMON saw, as ``damo`` reports it in text.

::

    563ebaa00000-563ebc99e000(  31.617 MiB):        1
    2   addr 86.182 TiB   size 3.422 MiB   access 40 %   age 4.100 s
    1 addr [85.541 TiB , 85.542 TiB ) (413.285 MiB) access 0 %  age 11.4 s

The raw report has addresses in hexadecimal. The readable one rounds them, so its regions are
laid one after another.

DAMON looks at one page of a region at a time and says how often it was found used: each page
of the region was used about that often. A trace is drawn from that (``synthetic``), in the
order of the snapshots. Regions never found used are left out.

Source: damo's USAGE.md for ``damo report raw`` and ``damo report access``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mkold.trace.accesses import Accesses
from mkold.trace.formats import records, synthetic
from mkold.trace.formats.reading import Reading, blocks
from mkold.trace.formats.synthetic import Scene
from mkold.trace.schema import PAGE_SHIFT, PAGE_SIZE

LOOKS = records.search(
    rb"^[0-9a-f]+-[0-9a-f]+ *\( *[\d.,]+ *[KMGTP]?i?B *\) *:"
    rb"|^[ \t]*\d+ +addr .*\baccess +[\d.,]+"
)
SAID = (
    "NOT A RECORDING: DAMON says how often regions were used, not which page when; the trace "
    "is drawn from that, by a seed (--seed), and all its accesses are reads"
)
_RAW = re.compile(
    rb"\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) *\( *[\d.,]+ *[KMGTP]?i?B *\) *: *"
    rb"([\d,]+)(?:\s.*)?$"
)
_READABLE = re.compile(
    rb"\s*\d+ +addr .*?(?:size +|\) *\( *)([\d.,]+) *([KMGTP]?i?B) *\)? +access +([\d.,]+)"
)
_UNITS = {b"B": 0, b"KiB": 10, b"MiB": 20, b"GiB": 30, b"TiB": 40, b"PiB": 50}
_LIKE = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ *\(|^\s*\d+ +addr ")
_NEW = re.compile(rb"\s*(monitoring_start|nr_regions|target_id) *:|# snapshot|heatmap:")


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Draw a trace from what is said.

    Raises
    ------
    SourceError : a line of a region is damaged
    """
    snapshots = _Snapshots()
    for text in blocks(chunks, reading):
        for at, line in enumerate(text.split(b"\n")[:-1]):
            if not snapshots.take(line.rstrip()):
                raise reading.wrong(at, line, 1, "this is not a region as DAMON prints it")
    scenes = snapshots.scenes()
    told(scenes, reading)
    yield from synthetic.draw(scenes, reading.seed)


def told(scenes: list[Scene], reading: Reading) -> None:
    """Note what is drawn from."""
    n_regions = sum(len(scene.vpn) for scene in scenes)
    reading.notes.append(
        f"{len(scenes):,} snapshots, {n_regions:,} used regions: "
        f"{synthetic.n_drawn(scenes):,} accesses drawn with seed {reading.seed}"
    )


def stretch(start: int, end: int, uses: float) -> tuple[int, int, float]:
    """A region in bytes as pages."""
    first = start >> PAGE_SHIFT
    return first, ((end + PAGE_SIZE - 1) >> PAGE_SHIFT) - first, uses


class _Snapshots:
    """Regions, line by line, by snapshot."""

    def __init__(self) -> None:
        self._scenes: list[Scene] = []
        self._regions: list[tuple[int, int, float]] = []  # of the snapshot at hand
        self._end = 0  # of the last region that was laid

    def scenes(self) -> list[Scene]:
        """All of them."""
        self._begin()
        return self._scenes

    def take(self, line: bytes) -> bool:
        """Take a line; whether it is one that may stand here."""
        if match := _RAW.match(line):
            start, end = int(match[1], 16), int(match[2], 16)
            uses = int(match[3].replace(b",", b"") or b"0")
        elif match := _READABLE.match(line):
            return self._readable(*match.groups())
        elif _NEW.match(line):
            self._begin()
            return True
        else:
            return _LIKE.search(line) is None
        if end <= start or end > 1 << 64:
            return False
        self._regions.append(stretch(start, end, uses))
        return True

    def _readable(self, size: bytes, unit: bytes, access: bytes) -> bool:
        try:
            n_bytes = int(float(size.replace(b",", b"")) * 2 ** _UNITS[unit])
            uses = float(access.replace(b",", b""))
        except (ValueError, KeyError):
            return False
        n_pages = max(1, n_bytes >> PAGE_SHIFT)
        self._regions.append((self._end, n_pages, uses))
        self._end += n_pages
        return True

    def _begin(self) -> None:
        if self._regions:
            self._scenes.append(Scene.of(self._regions))
        self._regions = []
        self._end = 0
