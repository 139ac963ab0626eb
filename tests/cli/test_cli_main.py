"""The door: verbs, exit codes, messages; nothing ever ends in a traceback."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from mkold import __version__
from mkold.base.errors import Exit, InputError, LimitError, UsageError
from mkold.cli import main as door

Capture = pytest.CaptureFixture[str]


def with_verb(monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    """Add a verb ``try`` that does ``body``."""
    module = types.ModuleType("mkold.cli.try")
    module.HELP = "Try."  # type: ignore[attr-defined]
    module.prepare_parser = lambda parser: None  # type: ignore[attr-defined]
    module.run = body  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mkold.cli.try", module)
    monkeypatch.setitem(door.VERBS, "try", "try")


def failing(error: BaseException) -> object:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_help_lists_every_verb_and_returns_0(capsys: Capture) -> None:
    assert door.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {verb} " in out for verb in door.VERBS)
    assert "examples:" in out


def test_version(capsys: Capture) -> None:
    assert door.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mkold {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["--nosuch"], ["doctor", "--nosuch"]])
def test_usage_errors_return_2(arguments: list[str], capsys: Capture) -> None:
    assert door.main(arguments) == 2
    shown = capsys.readouterr()
    assert "usage: mkold" in shown.out + shown.err


@pytest.mark.parametrize("verb", door.VERBS)
def test_every_verb_teaches(verb: str, capsys: Capture) -> None:
    assert door.main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"mkold {verb}" in out
    assert "examples:" in out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("say more"), 2, "mkold: say more"),
        (InputError("no good"), 3, "mkold: no good"),
        (LimitError("too long"), 4, "mkold: too long"),
        (KeyboardInterrupt(), 130, "mkold: interrupted"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_ends_map_to_exit_codes(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    with_verb(monkeypatch, failing(error))
    assert door.main(["try"]) == code
    assert capsys.readouterr().err.strip() == message


def test_a_bug_is_told_apart_and_its_traceback_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with_verb(monkeypatch, failing(ZeroDivisionError("oops")))
    assert door.main(["try"]) == 70
    shown = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oops" in shown
    assert "Traceback" not in shown
    (kept,) = tmp_path.iterdir()
    assert str(kept) in shown
    assert "Traceback" in kept.read_text()
    monkeypatch.setenv("MKOLD_DEBUG", "1")
    assert door.main(["try"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_the_verbs_own_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    with_verb(monkeypatch, lambda args: 4)
    assert door.main(["try"]) == 4


def start(arguments: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkold", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,  # type: ignore[call-overload]
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mkold.cli.main import main; main(['--help']); "
        "heavy = {'numpy', 'polars', 'llvmlite'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr


def test_help_starts_fast() -> None:
    """Under 0.15 s of CPU; the best of a few, since the machine may be busy."""

    def cpu() -> float:
        before = os.times()
        assert start(["--help"]).returncode == 0
        after = os.times()
        return (after.children_user - before.children_user) + (
            after.children_system - before.children_system
        )

    assert min(cpu() for _ in range(5)) < 0.15


def test_a_reader_that_leaves_early_is_no_error() -> None:
    run = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} -m mkold doctor --json | true; exit ${{PIPESTATUS[0]}}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.stderr == ""
    assert run.returncode in (0, 141)


def test_a_full_disk_is_reported_without_a_traceback() -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "mkold", "doctor"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert run.returncode == 3
    assert run.stderr.strip() == "mkold: can't write the result: No space left on device"


def test_an_interrupt_within_an_exec_of_text_is_no_death_by_signal() -> None:
    text = (
        "import sys\nfrom mkold.cli import main\n"
        "def stopped(argv): exec('raise KeyboardInterrupt')\n"
        "main._dispatch = stopped\nsys.exit(main.main([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (Exit.INTERRUPTED, b"mkold: interrupted\n")
