"""Jobs in a fresh process: answers, and every way to break it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkold.base import child
from mkold.base.errors import InputError, LimitError


def test_it_answers_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("text")
    with path.open("rb") as file:
        first = child.ask("base_jobs:echo", {"a": 1}, [file.fileno()])
    again = child.ask("base_jobs:echo", {"b": "x" * 3_000_000})
    assert (first["a"], first["read"], len(again["b"])) == (1, ["text"], 3_000_000)
    assert first["pid"] == again["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        ("refuse", InputError, "^no good$"),
        ("abort", InputError, "broke down .SIGABRT: thread panicked"),
        ("leave", InputError, "broke down .status 1: gone"),
        ("grow", LimitError, "out of memory"),
    ],
)
def test_what_breaks_is_an_error(
    job: str, error: type[Exception], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=message):
        child.ask(f"base_jobs:{job}", {}, memory_bytes=1 << 30)
    assert child.ask("base_jobs:echo", {})["read"] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_one_that_neither_works_nor_answers_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "STUCK_S", 0.6)
    with pytest.raises(LimitError, match="does not go on"):
        child.ask("base_jobs:sleep", {})


@pytest.mark.slow
def test_an_idle_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = child.ask("base_jobs:echo", {})["pid"]
    deadline = time.monotonic() + child.IDLE_S + 10
    while Path(f"/proc/{pid}/cmdline").read_bytes():  # empty once it waits to be buried
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert child.ask("base_jobs:echo", {})["pid"] != pid


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    child.dismiss()
