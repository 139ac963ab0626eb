"""``mkold litmus``: decide C litmus tests, worded as herd7 words it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mkold.base.errors import Exit, InputError, UsageError
from mkold.base.files import read_text
from mkold.base.output import refuse_overwrite, scratch_folder, staged, write_file
from mkold.base.shown import shown
from mkold.base.signals import until_interrupted
from mkold.base.workers import Died, each, hard_limit
from mkold.cli.options import (
    StatusLine,
    add_engine,
    add_output_options,
    add_work,
    check_engine,
)
from mkold.herd import SCHEMA

if TYPE_CHECKING:  # tests are read and decided in run, not for --help
    from mkold.herd.job import Options, Outcome

HELP = """\
Decide C litmus tests under the Linux-kernel memory model.

The text is herd7's, so that scripts that read herd7 read this. Tests are decided by
several processes and printed in the order in which they are done."""

_EPILOG = """\
examples:
  mkold litmus MP+poonceonces.litmus
  mkold litmus MP+poonceonces.litmus --explain --svg mp.svg
  mkold litmus litmus-tests/ --verdict-only --jobs 2 -o verdicts.txt
  mkold litmus litmus-tests/ --json | grep '"Sometimes"'

A directory stands for every *.litmus file below it, @FILE for the paths listed in FILE.

exit codes: 0 every test was decided, whatever the verdict; 3 some file is no litmus test
or needs what mkold does not model; 4 some test ran out of time or memory; 130 interrupted
(what was decided by then is written)."""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", help="tests to decide")
    work = parser.add_argument_group("work")
    work.add_argument(
        "--verdict-only", action="store_true",
        help="stop at the first witness: no states, no flags; Always may read Sometimes",
    )  # fmt: skip
    add_work(work, one="test", timeout_s=60.0)
    add_engine(work)
    explain = parser.add_argument_group("pictures")
    explain.add_argument(
        "--explain", action="store_true",
        help="show a witness of the condition, or the cycle that forbids it",
    )  # fmt: skip
    explain.add_argument("--svg", type=Path, metavar="FILE", help="draw it (one test only)")
    explain.add_argument(
        "--dot", type=Path, metavar="FILE", help="write it for Graphviz (one test only)"
    )
    add_output_options(parser, json_schema=f"{SCHEMA}, one object a line")


def run(args: argparse.Namespace) -> int:
    """Decide every test; return the exit code."""
    check_engine(args)
    paths = list(_files(args.paths))
    pictures = [path for path in (args.svg, args.dot) if path is not None]
    if pictures and len(paths) != 1:
        raise UsageError(f"--svg and --dot draw one test; {len(paths)} were named")
    for path in (args.output, *pictures):
        if path is not None:
            refuse_overwrite(path, force=args.force)
    from mkold.herd.job import Options

    report = _Report(args, len(paths))
    with scratch_folder() as scratch:
        options = Options(
            states=not args.verdict_only,
            witness=args.explain or bool(pictures),
            timeout_s=args.timeout,
            json=args.json,
            scratch=str(scratch),
            engine=args.engine,
        )
        if args.output is None:
            return report.run(_outcomes(paths, options, args), sys.stdout)
        return _into_file(args, report, _outcomes(paths, options, args))


class _NothingWritten(Exception):  # noqa: N818 - a way out, not an error
    """So that the file stays as it was."""


def _into_file(args: argparse.Namespace, report: _Report, outcomes: Generator[Outcome]) -> int:
    """Write to ``args.output``; where there is nothing to write, leave it as it was."""
    code = 0
    try:
        with (
            staged(args.output, force=args.force) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            code = report.run(outcomes, file)
            if not file.tell():
                raise _NothingWritten
    except _NothingWritten:
        print(shown(f"mkold: {args.output}: nothing to write"), file=sys.stderr)
    return code


def _files(names: list[str]) -> Iterator[str]:
    """The tests that the arguments name, each directory's in order."""
    for name in names:
        path = Path(name)
        if name.startswith("@") and not path.exists():
            yield from _listed(Path(name[1:]))
        elif path.is_dir():
            found = sorted(str(file) for file in path.rglob("*.litmus") if file.is_file())
            if not found:
                raise InputError(f"no *.litmus file below {name}")
            yield from found
        else:
            yield name


def _listed(path: Path) -> Iterator[str]:
    lines = map(str.strip, read_text(path).splitlines())
    yield from (line for line in lines if line and not line.startswith("#"))


def _outcomes(
    paths: list[str], options: Options, args: argparse.Namespace
) -> Generator[Outcome]:
    from mkold.herd.job import decide_file
    from mkold.lkmm.engines import USUAL, named

    if len(paths) > 1:
        named(options.engine or USUAL[0])  # once, here, rather than in every worker
    decide = partial(decide_file, options=options)
    hard_s = hard_limit(options.timeout_s)
    done = each(decide, paths, jobs=args.jobs, hard_s=hard_s, memory_bytes=args.memory_limit)
    for index, result in done:
        yield (
            _dead(paths[index], result, hard_s, options) if isinstance(result, Died) else result
        )


def _dead(path: str, died: Died, hard_s: float, options: Options) -> Outcome:
    """The outcome of a test whose worker died."""
    from mkold.herd.job import Outcome, json_line

    if died.cause == "crash":
        reason = "internal error: the process died"
        outcome = Outcome(path, "error", 0.0, reason, internal=True)
    elif died.cause == "memory":
        outcome = Outcome(path, "timeout", 0.0, "out of memory")
    else:
        outcome = Outcome(
            path, "timeout", hard_s, f"killed after {hard_s:g} s of processor time"
        )
    if options.json:
        return replace(outcome, text=json_line(outcome))
    return outcome


class _Report:
    """Prints outcomes as they come, and what they add up to."""

    def __init__(self, args: argparse.Namespace, n_tests: int) -> None:
        self.args, self.n_tests = args, n_tests
        self.status = StatusLine()
        self.seen: Counter[str] = Counter()
        self.internal = False

    def run(self, outcomes: Generator[Outcome], out: TextIO) -> int:
        interrupted = until_interrupted(outcomes, lambda outcome: self._one(outcome, out))
        self.status.clear()
        if self.n_tests > 1:
            sys.stdout.flush()
            sys.stderr.write(self._summary(interrupted))
        return int(Exit.INTERRUPTED) if interrupted else self._exit_code()

    def _one(self, outcome: Outcome, out: TextIO) -> None:
        self._count(outcome)
        self.status.clear()
        if outcome.reason:
            text = outcome.reason
            where = "" if outcome.path in text else f"{outcome.path}: "
            print(shown(f"mkold: {where}{text}", keep="\n"), file=sys.stderr)
        if outcome.traceback and os.environ.get("MKOLD_DEBUG"):
            sys.stderr.write(outcome.traceback)
        out.write(shown(outcome.text, keep="\n\t"))
        if outcome.spool:
            with open(outcome.spool, encoding="utf-8") as states:
                shutil.copyfileobj(states, out, 1 << 20)
            os.unlink(outcome.spool)
        out.write(shown(outcome.tail, keep="\n\t"))
        out.flush()
        self._explain(outcome, out)
        if self.n_tests > 1:
            done = sum(self.seen.values())
            self.status.show(f"{done} of {self.n_tests} tests, now {outcome.path}")

    def _count(self, outcome: Outcome) -> None:
        self.internal |= outcome.internal
        self.seen[outcome.observation or outcome.status] += 1

    def _explain(self, outcome: Outcome, out: TextIO) -> None:
        """The pictures that were asked for."""
        if outcome.verdict is None or outcome.program is None:
            return
        if not (self.args.explain or self.args.svg or self.args.dot):
            return
        from mkold.view import grid, text
        from mkold.view.dot import draw_dot
        from mkold.view.svg import draw_svg

        pictures = grid.explained(outcome.verdict, outcome.program)
        if not pictures:
            print(f"mkold: {shown(outcome.path)}: nothing to draw", file=sys.stderr)
            return
        if self.args.explain and not self.args.json:
            for picture in pictures:
                print(shown(text.draw_text(picture), keep="\n\t"), file=out, end="\n\n")
        if self.args.svg is not None:
            write_file(self.args.svg, draw_svg(pictures[0]), force=self.args.force)
        if self.args.dot is not None:
            write_file(self.args.dot, draw_dot(pictures[0]), force=self.args.force)

    def _summary(self, interrupted: bool) -> str:
        done = sum(self.seen.values())
        lines = [f"{done} of {self.n_tests} tests" + (", interrupted" if interrupted else "")]
        lines += [f"  {name:<12} {count:>6}" for name, count in sorted(self.seen.items())]
        return "\n".join(lines) + "\n"

    def _exit_code(self) -> int:
        if self.internal:
            return int(Exit.INTERNAL)
        if self.seen["error"] or self.seen["unsupported"]:
            return int(Exit.BAD_INPUT)
        return int(Exit.UNDECIDED if self.seen["timeout"] else Exit.HOLDS)
