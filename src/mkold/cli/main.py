"""``mkold VERB ...``: choose the verb, and turn how it ends into an exit code.

Only the chosen verb's module is imported, so that ``mkold --help`` starts fast.

Exit codes: 0 holds or done, 1 a counterexample, 2 usage, 3 bad input, 4 undecided,
70 internal error, 130 interrupted, 141 the reader of standard output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Protocol, cast

from mkold import __version__
from mkold.base.errors import Exit, MkoldError

SIGPIPE_EXIT = 141
_BAD_NAME = (errno.ENAMETOOLONG, errno.ELOOP)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

VERBS = {
    "run": "age a guest that replays a trace; compare the aging paths side by side",
    "check": "decide claims about the lockless design under the kernel's memory model",
    "litmus": "decide C litmus tests under the kernel's memory model, worded as by herd7",
    "record": "record a program's memory accesses, or import a recording",
    "doctor": "say what this machine offers: cores, compiler cache, optional tools",
}

_EPILOG = """\
examples:
  mkold run                          age a guest over a trace that ships with mkold
  mkold check                        decide the claims that ship with mkold
  mkold litmus MP.litmus             decide a litmus test
  mkold record -o x.parquet -- sort words.txt
  mkold VERB --help                  the options of one verb, with examples

exit codes: 0 holds or done, 1 counterexample, 2 usage, 3 bad input, 4 undecided,
70 internal error, 130 interrupted. MKOLD_DEBUG=1 shows tracebacks.
"""


class Verb(Protocol):
    """What a verb's module offers."""

    HELP: str

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's options, epilog and description."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except MkoldError as error:
        _say(f"mkold: {error}")
        return int(error.exit_code)
    except KeyboardInterrupt:
        _say("mkold: interrupted")
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        _give_up_stdout()
        return SIGPIPE_EXIT
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            _give_up_stdout()
            _say(f"mkold: can't write the result: {error.strerror}")
            return int(Exit.BAD_INPUT)
        if isinstance(error, OSError) and error.errno in _BAD_NAME:
            _say(f"mkold: {str(error.filename)[:80]}: {error.strerror}")
            return int(Exit.BAD_INPUT)
        return _internal(error)
    return code


def _dispatch(arguments: list[str]) -> int:
    name = next((word for word in arguments if not word.startswith("-")), None)
    parser, verb = _parser(name if name in VERBS else None)
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:  # --help, --version, usage
        return stop.code if isinstance(stop.code, int) else int(Exit.USAGE)
    if verb is None:
        parser.print_help()
        return int(Exit.USAGE)
    return int(verb.run(args))


def _parser(chosen: str | None) -> tuple[argparse.ArgumentParser, Verb | None]:
    """The parser, complete for the chosen verb and with a line for each other."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mkold",
        description="A workbench for lockless page aging in hypervisors.",
        epilog=_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mkold {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb: Verb | None = None
    for name, summary in VERBS.items():
        child = verbs.add_parser(name, help=summary, formatter_class=raw, allow_abbrev=False)
        if name == chosen:
            verb = cast(Verb, importlib.import_module(f"mkold.cli.{name}"))
            child.description = verb.HELP
            verb.prepare_parser(child)
    return parser, verb


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _give_up_stdout() -> None:
    """Standard output can't be written any more: no second error when Python exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal(error: Exception) -> int:
    """Report a bug of ours: keep the traceback, show it when asked."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if os.environ.get("MKOLD_DEBUG"):
        _say(text)
        return int(Exit.INTERNAL)
    where = "run again with MKOLD_DEBUG=1 to see where"
    with (
        contextlib.suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", prefix="mkold-", suffix=".traceback", delete=False
        ) as file,
    ):
        file.write(text)
        where = f"the traceback is in {file.name}"
    _say(f"mkold: internal error: {type(error).__name__}: {error}\n  {where}")
    return int(Exit.INTERNAL)


if __name__ == "__main__":
    sys.exit(main())
