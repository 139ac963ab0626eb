"""Result files: whole or not at all, never by surprise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mkold.base.errors import InputError
from mkold.base.output import refuse_overwrite, staged, write_file


def test_writes_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "text")
    write_file(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_text() == "text"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b"]


def test_refuses_then_forces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, "one")
    with pytest.raises(InputError, match="--force"):
        write_file(path, "two")
    assert path.read_text() == "one"
    write_file(path, "two", force=True)
    assert path.read_text() == "two"


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, "old")

    def fail_halfway() -> None:
        with staged(path, force=True) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write_beside() -> None:
        with staged(path) as temporary:
            temporary.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(InputError, match="exists"):
        write_beside()
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write_file(link, "new", force=True)
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_device_is_written_not_replaced() -> None:
    write_file(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("name", "message"), [("no/such/folder", "can't write"), ("", "is a directory")]
)
def test_bad_places(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_file(tmp_path / name, "text")


def test_mode_obeys_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_file(tmp_path / "a", "text")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_refuse_overwrite_is_silent_for_a_new_file(tmp_path: Path) -> None:
    refuse_overwrite(tmp_path / "new", force=False)
