"""Reading what the user names: bounds, pipes, and reasons."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mkold.base.errors import InputError
from mkold.base.files import open_file, read_bytes, read_text


def test_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a\r\nb\xff")
    assert read_text(path) == "a\nb\ufffd"


@pytest.mark.parametrize("name", ["none", "a" * 300, "z\0", ".", "x/y"])
def test_what_the_system_refuses(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError):
        read_bytes(f"{tmp_path}/{name}")
    with pytest.raises(InputError):
        open_file(f"{tmp_path}/{name}")


def test_an_endless_file() -> None:
    with pytest.raises(InputError, match="longer than 1000 bytes"):
        read_bytes("/dev/zero", most=1000)
    with pytest.raises(InputError, match="no file proper"):
        open_file("/dev/zero")


def test_a_pipe_without_a_writer_is_empty(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_bytes(pipe) == b""
    with pytest.raises(InputError, match="no file proper"):
        open_file(pipe)


def test_a_pipe_with_a_slow_writer_is_read_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        for _ in range(3):
            os.write(writing, b"x" * 1000)
        os.close(writing)

    timer = threading.Timer(0.1, write)
    timer.start()
    assert read_bytes(f"/dev/fd/{reading}") == b"x" * 3000
    timer.join()
    os.close(reading)
