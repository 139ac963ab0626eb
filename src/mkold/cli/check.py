"""``mkold check``: decide claims; say which ordering primitives are needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mkold.base.errors import Exit, UsageError
from mkold.check import load
from mkold.check.claim import Claim
from mkold.check.decide import DEFAULT_TIMEOUT_S, ClaimResult, decide_claim
from mkold.cli.options import StatusLine, add_force, check_output, positive_float, positive_int
from mkold.view import claims as view

HELP = """\
Decide claims about kernel Python under the Linux-kernel memory model.

With no argument, every claim that ships with mkold. A number or a name picks claims; a
Python file brings its own (a list CLAIMS; see docs/check.md)."""

_EPILOG = """\
examples:
  mkold check                      all shipped claims
  mkold check 1 3 --explain        two of them, with a picture of each counterexample
  mkold check my_claims.py         claims of your own
  mkold check 2 --needed           which fences, marks and locks claim 2 rests on
  mkold check 1 -o picture.html    pictures in one self-contained file (or .svg, .json)
  mkold check --replay FILE        show a saved counterexample again

exit codes: 0 every claim holds, 1 some claim is refuted, 3 bad input, 4 some claim is
undecided and none refuted."""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "claims", nargs="*", metavar="CLAIM", help="a number, a name, or a Python file"
    )
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
        "--replay", type=Path, metavar="FILE", help="reproduce a saved counterexample"
    )
    parser.add_argument(
        "--explain", action="store_true", help="draw every counterexample in the terminal"
    )
    parser.add_argument(
        "--diff", action="store_true", help="show each case's changes as a diff"
    )
    parser.add_argument(
        "--timeout",
        type=positive_float,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds for one case (default %(default)s)",
    )
    parser.add_argument(
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


def run(args: argparse.Namespace) -> int:
    """Do what was asked; the exit code says how it ended."""
    check_output(args)
    if args.replay:
        return _replay(args)
    claims = _claims(args.claims)
    if args.list:
        return _emit(args, view.list_text(claims), view.list_json(claims))
    if args.needed:
        return _needed(args, claims)
    if args.torture:
        return _torture(args, claims)
    if args.export:
        return _export(args, claims)
    return _decide(args, claims)


def _claims(words: list[str]) -> list[Claim]:
    """The claims meant: those of the files named, else shipped ones, narrowed by name."""
    files = [word for word in words if word.endswith(".py")]
    names = [word for word in words if not word.endswith(".py")]
    pool = [claim for file in files for claim in load.from_file(Path(file))]
    return load.select(pool if files else load.shipped(), names)


def _decide(args: argparse.Namespace, claims: list[Claim]) -> int:
    results = []
    status = StatusLine()
    streaming = not args.json and args.output is None
    for n, claim in enumerate(claims, 1):
        status.show(f"{n}/{len(claims)} {claim.name}")
        result = decide_claim(claim, timeout_s=args.timeout)
        results.append(result)
        status.clear()
        if streaming:
            print(view.claim_text(result, explain=args.explain, diff=args.diff), flush=True)
    if streaming:
        print(view.summary_text(results))
    else:
        _deliver(args, results)
    return _exit(results)


def _exit(results: Iterable[ClaimResult]) -> int:
    verdicts = {result.verdict for result in results}
    if "refuted" in verdicts:
        return Exit.COUNTEREXAMPLE
    return Exit.UNDECIDED if "undecided" in verdicts else Exit.HOLDS


def _deliver(args: argparse.Namespace, results: list[ClaimResult]) -> None:
    """The results in the form that the options or the file's ending ask for."""
    suffix = args.output.suffix if args.output else ""
    if suffix == ".html":
        from mkold.view.html import counterexamples_html

        _emit(args, counterexamples_html(results), None)
    elif suffix == ".svg":
        from mkold.view.html import first_svg

        _emit(args, first_svg(results), None)
    elif args.output and args.output.name.endswith(".replay.json"):
        from mkold.check.replay import saved

        _emit(args, saved(results), None)
    else:
        text = "\n".join(
            [
                *(view.claim_text(r, explain=args.explain, diff=args.diff) for r in results),
                view.summary_text(results),
            ]
        )
        _emit(args, text, view.results_json(results))


def _emit(args: argparse.Namespace, text: str, body: dict[str, Any] | None) -> int:
    import json

    from mkold.base.output import write_file

    shown = json.dumps(body, indent=2) if args.json and body is not None else text
    if args.output:
        write_file(args.output, shown + "\n", force=args.force)
    else:
        sys.stdout.write(shown + "\n")
    return Exit.HOLDS


def _needed(args: argparse.Namespace, claims: list[Claim]) -> int:
    from mkold.check.needed import needed
    from mkold.view.needed import needed_json, needed_text

    status = StatusLine()
    needs = list(needed(claims, timeout_s=args.timeout, progress=status.show))
    status.clear()
    return _emit(args, needed_text(needs), needed_json(needs))


def _torture(args: argparse.Namespace, claims: list[Claim]) -> int:
    from mkold.check.torture import torture

    status = StatusLine()
    results = []
    for claim in claims:
        for case in claim.cases:
            status.show(f"{claim.name}: {case.label}")
            results.append(torture(case, rounds=args.rounds, timeout_s=args.timeout))
    status.clear()
    _emit(args, view.torture_text(results), view.torture_json(results))
    return Exit.INTERNAL if any(r.forbidden for r in results) else Exit.HOLDS


def _export(args: argparse.Namespace, claims: list[Claim]) -> int:
    from mkold.check.export import export

    if args.export.exists() and not args.export.is_dir():
        raise UsageError(f"{args.export} is not a directory")
    return _emit(args, export(claims, args.export, force=args.force), None)


def _replay(args: argparse.Namespace) -> int:
    from mkold.check.replay import replay

    result = replay(args.replay, timeout_s=args.timeout)
    _emit(args, view.claim_text(result, explain=True, diff=True), view.results_json([result]))
    return _exit([result])
