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
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import NoReturn, Protocol, cast

from mkold import __version__
from mkold.base import signals
from mkold.base.errors import Exit, MkoldError
from mkold.base.files import OUTSIDE
from mkold.base.shown import shown

SIGPIPE_EXIT = 141

VERBS = {
    "run": "age a guest that replays a trace; compare the aging paths side by side",
    "check": "decide claims about the lockless design under the kernel's memory model",
    "litmus": "decide C litmus tests under the kernel's memory model, worded as by herd7",
    "record": "record a program's memory accesses, or import a recording",
    "host": "say how a Linux host ages its guests, and what the lockless path lacks there",
    "validate": "compare the system with real Linux KVM under QEMU, step by step",
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
    """Run the command line and return its exit code; never raises.

    Without ``argv`` it is the process's own, which then ends.
    """
    _open_streams()
    code = int(Exit.INTERRUPTED)
    try:
        with signals.heard(last=argv is None):
            code = _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # between two steps of the above
        pass
    if argv is None and code == Exit.INTERRUPTED:
        _leave(code)
    if argv is None:
        signals.end_soon(code)
    return code


def _leave(code: int) -> NoReturn:
    """End at once: a compiler that is still at work in a thread would have the memory taken
    from under it by an ordinary exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _main(arguments: list[str]) -> int:
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        _give_up_stdout()
        return SIGPIPE_EXIT
    except Exception as error:
        if signals.interrupted() and not isinstance(error, MkoldError):
            return _interrupted()  # a library made something else of it
        return _failed(error)
    return code


def _interrupted() -> int:
    # Python remembers a KeyboardInterrupt that left an exec() of text (dataclasses use it),
    # caught or not, and would end by SIGINT; the next such exec() makes it forget.
    exec("")
    _say("mkold: interrupted")
    return int(Exit.INTERRUPTED)


def _failed(error: Exception) -> int:
    """Say what went wrong; the exit code for it."""
    match error:
        case MkoldError():
            _say(f"mkold: {error}")
            return int(error.exit_code)
        case MemoryError():
            _say("mkold: out of memory")
            return int(Exit.UNDECIDED)
        case OSError(errno=errno.ENOMEM | errno.EAGAIN):
            _say(f"mkold: out of memory or processes: {error.strerror}")
            return int(Exit.UNDECIDED)
        case OSError() if error.errno in OUTSIDE and not os.environ.get("MKOLD_DEBUG"):
            if error.filename is None:
                _give_up_stdout()
            name = "can't write the result" if error.filename is None else error.filename
            _say(f"mkold: {shown(name, most=200)}: {error.strerror}")
            return int(Exit.BAD_INPUT)
    return _internal(error)


def _open_streams() -> None:
    """What was closed is /dev/null: else the next file opened would be taken for it."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names need not be UTF-8
            stream.reconfigure(errors="backslashreplace")


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
    with contextlib.suppress(OSError, ValueError):
        print(shown(text, keep="\n\t"), file=sys.stderr, flush=True)


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
