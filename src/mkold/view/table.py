"""Plain tables: aligned text that reads the same on a terminal, in a file and in a mail."""

from __future__ import annotations

from collections.abc import Sequence


def si(value: float, digits: int = 3) -> str:
    """A number with k, M or G, to ``digits`` significant digits: ``28.8 M``."""
    for scale, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= scale:
            return f"{_significant(value / scale, digits)}{suffix}"
    return _significant(value, digits)


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    whole = len(str(int(abs(value))))
    if value == int(value) and whole <= digits:
        return str(int(value))
    return f"{value:.{max(0, digits - whole)}f}"


def percent(share: float) -> str:
    """A share as per cent: ``3.4 %``."""
    return f"{share * 100:.1f} %"


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, bold: bool = False
) -> list[str]:
    """Lines of a table: first column to the left, others to the right, a rule below the
    header. ``bold`` prints the header bold by ANSI codes."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    head = _line(header, widths)
    rule = "  ".join("-" * width for width in widths)
    shown = f"\x1b[1m{head}\x1b[0m" if bold else head
    return [shown, rule, *(_line(row, widths) for row in rows)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  ".join([first, *rest]).rstrip()
