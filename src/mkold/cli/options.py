"""Options that verbs share: where the result goes, in which form, and value checks."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mkold.base.memory import allowance
from mkold.base.shown import shown

YEAR_S = 366 * 86400.0
MOST_MEMORY = 4 << 30


def add_output_options(parser: argparse.ArgumentParser, *, json_schema: str) -> None:
    """Add ``--json``, ``-o FILE`` and ``--force``; ``deliver`` obeys them.

    Parameters
    ----------
    json_schema : the schema's name and version, for the help text ("mkold.run/1")
    """
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help=f"write JSON of the schema {json_schema}"
    )
    group.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write to FILE, not standard output"
    )
    add_force(group)


def add_work(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, one: str, timeout_s: float
) -> None:
    """Add ``--jobs``, ``--timeout`` and ``--memory-limit``; ``one`` is what a job decides."""
    parser.add_argument(
        "--jobs", type=positive_int, default=os.cpu_count() or 1, metavar="N",
        help="processes (default: one per CPU, here %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=seconds, default=timeout_s, metavar="S",
        help=f"processor seconds for one {one} (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-limit", type=size, metavar="BYTES",
        default=min(MOST_MEMORY, allowance(os.cpu_count() or 1)),
        help="memory for one process, as 800M or 4G (default: what the machine has, "
        "shared by all, at most 4G)",
    )  # fmt: skip


def add_engine(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add ``--engine``; ``check_engine`` refuses names that there are not."""
    parser.add_argument(
        "--engine", metavar="NAME", help="which engine decides; a wrong name lists them"
    )


def check_engine(args: argparse.Namespace) -> None:
    """Refuse an unknown engine before the work rather than after it.

    Raises
    ------
    UsageError : there is no engine of that name
    """
    if args.engine is not None:
        from mkold.lkmm.engines import named

        named(args.engine)


def add_force(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add ``--force``."""
    parser.add_argument("--force", action="store_true", help="overwrite FILE if it exists")


def check_output(args: argparse.Namespace) -> None:
    """Refuse a taken output file before the work rather than after it.

    Raises
    ------
    InputError : the file exists and ``--force`` was not given
    """
    if args.output is not None:
        from mkold.base.output import refuse_overwrite

        refuse_overwrite(args.output, force=args.force)


def deliver(
    args: argparse.Namespace,
    body: Mapping[str, Any] | None,
    text: Callable[[], str] | str,
    *,
    coloured: bool = False,
) -> None:
    """Write the result as JSON or as text, to the file named or to standard output.

    Parameters
    ----------
    body : the JSON form, with its ``schema``; numbers must be finite. None: it has none
    text : the plain form, or what makes it
    coloured : the text has colours, and what is foreign in it is fit to be shown
    """
    if args.json and body is not None:
        result = json.dumps(body, indent=2, allow_nan=False)
    else:
        result = text if isinstance(text, str) else text()
        result = result if coloured else shown(result, keep="\n\t")
    result = result if result.endswith("\n") else result + "\n"
    if args.output is not None:
        from mkold.base.output import write_file

        write_file(args.output, result, force=args.force)
    else:
        sys.stdout.write(result)


class StatusLine:
    """One line of progress on standard error; silent where that is no terminal."""

    def __init__(self, interval_s: float = 0.2) -> None:
        self._shown = False
        self._next = 0.0
        self._interval_s = interval_s
        self._live = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace the line, unless it changed a moment ago."""
        now = time.monotonic()
        if self._live and now >= self._next:
            self._next = now + self._interval_s
            self._shown = True
            sys.stderr.write(f"\r\x1b[K{shown(text)}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line, so that what follows starts clean."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def positive_int(text: str) -> int:
    """An option's value: a whole number from 1 on; ``10_000`` is fine."""
    value = _number(text, int, "a whole number")
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return int(value)


def seed(text: str) -> int:
    """An option's value: a whole number from 0 on."""
    value = int(_number(text, int, "a whole number"))
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def count(text: str) -> int:
    """An option's value: a whole number from 1 on, with k, M or G for thousands."""
    scale = {"k": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    return positive_int(text[:-1] if scale > 1 else text) * scale


def size(text: str) -> int:
    """An option's value: a number of bytes; K, M and G count in 1024."""
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    value = positive_float(text[:-1] if scale > 1 else text) * scale
    if not 1 << 20 <= value < 1 << 62:
        raise argparse.ArgumentTypeError(f"{text} is not a size of 1M or more")
    return int(value)


def positive_float(text: str) -> float:
    """An option's value: a finite number above 0."""
    value = float(_number(text, float, "a number"))
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and finite")
    return value


def seconds(text: str) -> float:
    """An option's value: a time above 0 that a system can count, at most a year."""
    value = positive_float(text)
    if value > YEAR_S:
        raise argparse.ArgumentTypeError(f"{text} seconds are more than a year")
    return value


def share(text: str) -> float:
    """An option's value: a part of the whole, above 0 and at most 1; ``40%`` is fine."""
    percent = text.endswith("%")
    value = float(_number(text.removesuffix("%"), float, "a share")) / (100 if percent else 1)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _number(text: str, kind: Callable[[str], float], what: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
