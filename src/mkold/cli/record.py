"""``mkold record``: a program's memory accesses into a trace file."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mkold.base.errors import Exit, InputError, UsageError
from mkold.base.output import refuse_overwrite
from mkold.base.shown import shown
from mkold.cli.options import StatusLine, add_force, count, seed

if TYPE_CHECKING:
    from mkold.trace.feed import Limits, Progress
    from mkold.trace.fold import Folder, Origin
    from mkold.trace.schema import Header

HELP = "Record the memory accesses of a program into a compact trace, or import a recording."

_EPILOG = """\
examples:
  mkold record -o sort.parquet -- sort words.txt
  mkold record -o start.parquet --max-accesses 10M -- python3 -c 'print(1)'
  mkold record -o cc.parquet --children -- gcc -c x.c
  mkold record -o x.parquet --import bzip.trace.gz
  perf script -F +addr | mkold record -o x.parquet --import -

The program runs under valgrind's lackey tool, some hundred times slower than usual, with its
own input and output. Only the program itself is recorded; the processes it starts are named
at the end, and --children records them too. Of a script, name the interpreter. Ctrl-C,
SIGTERM, SIGHUP and --max-accesses end the program, and what was recorded until then is kept.
How it ended is told on standard error and in the trace; that does not change the exit code of
mkold, which is 0 once a trace is written (130 after Ctrl-C).
Where the disk is full, the recording is kept in the folder for temporary files, exit code 3.
"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mkold record``."""
    parser.epilog = _EPILOG
    parser.usage = (
        "mkold record -o FILE [options] -- COMMAND [ARG...]\n"
        "       mkold record -o FILE [options] --import TRACE"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", required=True, help="the trace to write"
    )
    add_force(parser)
    parser.add_argument(
        "--import",
        dest="source",
        metavar="TRACE",
        help="read a trace that another tool recorded from this file (- is standard input); "
        "the format is told by content, docs/inputs.md lists them",
    )
    parser.add_argument(
        "--max-accesses", type=count, metavar="N", help="stop after N accesses (10M, 500k)"
    )
    parser.add_argument(
        "--instructions",
        action="store_true",
        help="count instruction fetches as reads (left out otherwise)",
    )
    parser.add_argument(
        "--children",
        action="store_true",
        help="record the processes that the program starts too, each with an address space of "
        "its own (left out otherwise, and named)",
    )
    parser.add_argument(
        "--seed", type=seed, default=1, metavar="N",
        help="of what is drawn where the input is a distribution (1)",
    )  # fmt: skip
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="the program to run")


def run(args: argparse.Namespace) -> int:
    """Record or import, write the trace, and sum it up on standard error."""
    if bool(args.command) == (args.source is not None):
        raise UsageError("say what to record: `-- COMMAND`, or `--import TRACE`, not both")
    if args.children and args.source is not None:
        raise UsageError("--children is for recording a program, not for --import")
    refuse_overwrite(args.output, force=args.force)
    from mkold.trace.feed import NO_ROOM, Limits
    from mkold.trace.fold import Folder
    from mkold.trace.parquet import write_folded

    limits = Limits(args.instructions, args.max_accesses, args.seed)
    status = StatusLine()
    start = time.monotonic()

    def progress(n_accesses: int, n_rows: int) -> None:
        rate = n_accesses / max(time.monotonic() - start, 1e-3)
        status.show(f"{n_accesses:,} accesses, {n_rows:,} runs, {rate:,.0f} a second")

    with Folder(args.max_accesses) as folder:
        try:
            origin, notes = _fill(args, folder, limits, progress)
        finally:
            status.clear()
        if origin.stopped == "interrupted" and not folder.n_accesses:
            raise KeyboardInterrupt
        header = folder.header(origin)
        try:
            write_folded(args.output, folder, header, force=args.force)
        except InputError as error:
            raise _kept(folder, header, error) from error
    for note in notes:
        print(f"mkold: {shown(note)}", file=sys.stderr)
    print(_summary(header, args.output), file=sys.stderr)
    if header.stopped == NO_ROOM:
        return Exit.BAD_INPUT
    return Exit.INTERRUPTED if header.stopped == "interrupted" else Exit.HOLDS


def _kept(folder: Folder, header: Header, error: InputError) -> InputError:
    """What to raise where the trace can't be written: the recording is saved elsewhere, if
    it can be."""
    from mkold.trace.parquet import write_folded

    handle, name = tempfile.mkstemp(prefix="mkold-", suffix=".parquet")
    os.close(handle)
    try:
        write_folded(name, folder, header, force=True)
    except InputError:
        os.unlink(name)
        return error
    return InputError(f"{error}\n  hint: the recording is kept in {name}")


def _fill(
    args: argparse.Namespace, folder: Folder, limits: Limits, progress: Progress
) -> tuple[Origin, list[str]]:
    """Record or import; where it comes from, and what the user is told about it."""
    from mkold.trace.formats.door import convert
    from mkold.trace.valgrind.record import record

    if args.source is None:
        return record(args.command, folder, limits, progress, children=args.children)
    if args.source == "-":
        return convert(sys.stdin.buffer, "<stdin>", folder, limits, progress)
    with _open(args.source) as file:
        return convert(file, args.source, folder, limits, progress)


def _open(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise InputError(f"can't read {shown(name, most=200)}: {reason}") from error


def _summary(header: Header, path: Path) -> str:
    """Two or three lines: what was recorded, where it is, how the program ended."""
    size = path.stat().st_size if path.is_file() else 0
    lines = [
        f"{shown(path)}: {header.n_accesses:,} accesses ({header.n_reads:,} reads, "
        f"{header.n_writes:,} writes) to {header.n_pages:,} pages, "
        f"{header.n_rows:,} runs, {size:,} bytes"
    ]
    if header.stopped != "end":
        lines.append(f"stopped early: {header.stopped}")
    if header.exit_status:
        how = "status" if header.exit_status > 0 else "signal"
        lines.append(f"note: the program ended with {how} {abs(header.exit_status)}")
    return "\n".join(lines)
