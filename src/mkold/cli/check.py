"""``mkold check``: decide claims; say which ordering primitives are needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from mkold.base.errors import Exit, UsageError
from mkold.base.shown import shown
from mkold.base.signals import until_interrupted
from mkold.cli.no_answer import exit_code, say_faults, without_answer
from mkold.cli.options import (
    StatusLine,
    add_engine,
    add_force,
    add_work,
    check_engine,
    check_output,
    deliver,
    positive_int,
)

if TYPE_CHECKING:  # the engine is imported when a claim is decided, not for --help
    from mkold.check.claim import Claim
    from mkold.check.many import Limits
    from mkold.check.result import ClaimResult
    from mkold.check.torture.run import TortureResult

TIMEOUT_S, BOUND = 60.0, 4
_DRAWN = (".html", ".svg")
_REPLAY = ".replay.json"

HELP = """\
Decide claims about kernel Python under the Linux-kernel memory model.

With no argument, every claim that ships with mkold. A number or a name picks claims; a
Python file brings its own (a list CLAIMS; see docs/check.md). The file is run, as any Python
program is: name only files that you would run."""

_EPILOG = """\
examples:
  mkold check                      all shipped claims
  mkold check 1 3 --explain        two of them, with a picture of each counterexample
  mkold check --arch powerpc       those about one architecture, and about any
  mkold check my_claims.py         claims of your own
  mkold check 2 --needed           which fences, marks and locks claim 2 rests on
  mkold check 1 -o picture.html    verdicts and pictures in one self-contained file
  mkold check 1 -o picture.svg     the first counterexample alone
  mkold check 1 -o bad.replay.json the counterexamples, to be looked for again:
  mkold check --replay bad.replay.json

A case that fails, or runs out of time or memory, says so on its line, and the rest go on.

exit codes: 0 every claim holds (or nothing of a replay is found again), 1 some claim is
refuted, 3 bad input, in whatever case, 4 some claim is undecided and none refuted,
70 internal error, in whatever case, 130 interrupted (what was decided by then is written).
MKOLD_DEBUG=1 shows the traceback of an internal error."""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "claims",
        nargs="*",
        metavar="CLAIM",
        help="a number, a name, or a Python file, which is run",
    )
    _add_modes(parser)
    parser.add_argument(
        "--arch", metavar="NAME", help="only claims about this architecture, or about any"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="with no claim named: also the cases for contrast that take seconds each",
    )
    parser.add_argument(
        "--explain", action="store_true", help="draw every counterexample in the terminal"
    )
    parser.add_argument(
        "--diff", action="store_true", help="show each case's changes as a diff"
    )
    work = parser.add_argument_group("work")
    add_work(work, one="case", timeout_s=TIMEOUT_S)
    add_engine(work)
    work.add_argument(
        "--bound", type=positive_int, default=BOUND, metavar="N",
        help="rounds of a loop that has no end of its own (default %(default)s)",
    )  # fmt: skip
    work.add_argument(
        "--rounds",
        type=positive_int,
        default=20_000,
        metavar="N",
        help="native rounds of --torture (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="JSON of the schema mkold.check/1")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write to FILE; .html, .svg and .replay.json hold the counterexamples",
    )
    add_force(parser)


def _add_modes(parser: argparse.ArgumentParser) -> None:
    """What is done in place of deciding."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--list", action="store_true", help="list the claims; decide nothing")
    mode.add_argument(
        "--needed",
        action="store_true",
        help="for each ordering primitive: is it needed, would a weaker one do?",
    )
    mode.add_argument(
        "--torture",
        action="store_true",
        help="run the scenarios natively too; an outcome that the model forbids is an error",
    )
    mode.add_argument(
        "--export", type=Path, metavar="DIR", help="write each case as a litmus test for herd7"
    )
    mode.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="reproduce a saved counterexample; runs the claims file that it names, if that "
        "is beside it or given as CLAIM",
    )


def run(args: argparse.Namespace) -> int:
    """Do what was asked; the exit code says how it ended."""
    from mkold.base.bounds import memory

    _check_options(args)
    with memory(args.memory_limit):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from mkold.check.load import quick
    from mkold.view import claims as view

    if args.replay:
        return _replay(args)
    claims, files = _claims(args)
    if args.list:
        deliver(args, view.list_json(claims), view.list_text(claims))
        return Exit.HOLDS
    if args.needed:
        return _needed(args, claims)
    if args.torture:
        return _torture(args, claims)
    if args.export:
        return _export(args, claims)
    if not args.claims and not args.all:
        claims = quick(claims)
    return _decide(args, claims, files)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse what can't be done before the work rather than after it."""
    check_output(args)
    check_engine(args)
    if args.engine and (args.list or args.torture or args.export):
        raise UsageError("--engine goes with deciding, --needed and --replay only")
    name = args.output.name if args.output else ""
    fixed = name.endswith((*_DRAWN, _REPLAY))
    if fixed and args.json:
        raise UsageError(f"--json does not go with {name}; name another file")
    if fixed and (args.list or args.needed or args.torture or args.export):
        raise UsageError(f"{name} is for counterexamples; name another file")
    if args.replay and not all(word.endswith(".py") for word in args.claims):
        raise UsageError("--replay FILE says which claims; name none, or the files they are in")
    if args.replay and args.arch:
        raise UsageError("--replay FILE says which claims; --arch does not go with it")
    args.json = args.json or (name.endswith(".json") and not fixed)


def _claims(args: argparse.Namespace) -> tuple[list[Claim], dict[str, Path]]:
    """The claims meant: those of the files named, else shipped ones, narrowed by name."""
    from mkold.check import load

    words, arch = args.claims, args.arch
    names = [word for word in words if not word.endswith(".py")]
    pool: list[Claim] = []
    files: dict[str, Path] = {}
    for word in words:
        if word.endswith(".py"):
            found = load.from_file(Path(word), args.timeout)
            pool += found
            files |= {claim.name: Path(word) for claim in found}
    pool = pool if files else load.shipped()
    return load.select(load.about(pool, arch) if arch else pool, names), files


def _decide(args: argparse.Namespace, claims: list[Claim], files: dict[str, Path]) -> int:
    from mkold.check.many import decide_claims

    status = StatusLine()
    return _deliver(args, decide_claims(claims, _limits(args), status.show), files, status)


def _limits(args: argparse.Namespace) -> Limits:
    from mkold.check.many import Limits

    drawn = args.output is not None and args.output.name.endswith(".html")
    return Limits(
        args.jobs, args.timeout, args.memory_limit, args.bound, args.engine,
        changes=args.diff or drawn,
    )  # fmt: skip


def _replay(args: argparse.Namespace) -> int:
    from mkold.check.replay import asked

    args.explain = args.diff = True
    named = [Path(word) for word in args.claims]
    return _decide(args, list(asked(args.replay, named, args.timeout)), {})


def _deliver(
    args: argparse.Namespace,
    found: Generator[ClaimResult],
    files: dict[str, Path],
    status: StatusLine,
) -> int:
    """Results as they come, or all in one file in the form that its ending asks for."""
    from mkold.view import claims as view

    results: list[ClaimResult] = []
    told: set[str] = set()

    def take(result: ClaimResult) -> None:
        status.clear()
        results.append(result)
        say_faults(result, told)
        if not args.json and not args.output:
            text = view.claim_text(result, explain=args.explain, diff=args.diff)
            print(shown(text, keep="\n\t"), flush=True)

    interrupted = until_interrupted(found, take)
    status.clear()
    if args.output:
        print(view.summary_text(results), file=sys.stderr)
        _write(args, results, files)
    elif args.json:
        deliver(args, view.results_json(results), "")
    else:
        print(shown(view.summary_text(results), keep="\n\t"))
    return Exit.INTERRUPTED if interrupted else exit_code(results)


def _write(
    args: argparse.Namespace, results: list[ClaimResult], files: dict[str, Path]
) -> None:
    """The file that ``-o`` names, by its ending."""
    from mkold.check.replay import saved
    from mkold.view import claims as view
    from mkold.view.html import counterexamples_html, first_svg

    name = args.output.name
    if name.endswith(".html"):
        text = counterexamples_html(results)
    elif name.endswith(".svg"):
        text = first_svg(results)
    elif name.endswith(_REPLAY):
        text = saved(results, files)
    else:
        parts = (view.claim_text(r, explain=args.explain, diff=args.diff) for r in results)
        text = "\n".join([*parts, view.summary_text(results)])
    deliver(args, view.results_json(results), text)


def _needed(args: argparse.Namespace, claims: list[Claim]) -> int:
    from mkold.check.needed.answer import needed
    from mkold.view.needed import needed_json, needed_text

    status = StatusLine()
    found = needed(claims, _limits(args), status.show)
    status.clear()
    deliver(args, needed_json(found), needed_text(found))
    if found.interrupted:
        return Exit.INTERRUPTED
    left = found.open or any(need.verdict == "undecided" for need in found.needs)
    return Exit.UNDECIDED if left else Exit.HOLDS


def _torture(args: argparse.Namespace, claims: list[Claim]) -> int:
    from mkold.check.torture.run import torture
    from mkold.view.torture import ALARM, torture_json, torture_text

    status = StatusLine()
    results: list[TortureResult] = []
    found = torture(claims, args.rounds, _limits(args), status.show)
    interrupted = until_interrupted(found, results.append)
    status.clear()
    deliver(args, torture_json(results), torture_text(results))
    bad = [result for result in results if result.ruled_out]
    for result in bad:
        print(f"mkold: {result.scenario}, {result.label}: {ALARM}", file=sys.stderr)
    code = without_answer(claims[0], [result.result for result in results])
    if bad:
        return Exit.INTERNAL
    return Exit.INTERRUPTED if interrupted else code


def _export(args: argparse.Namespace, claims: list[Claim]) -> int:
    from mkold.check.export.litmus_text import export, exports

    if args.export.exists() and not args.export.is_dir():
        raise UsageError(f"{args.export} is not a directory")
    done = list(exports(claims, _limits(args)))
    deliver(args, None, export(done, args.export, force=args.force))
    return without_answer(claims[0], [one.result for one in done])
