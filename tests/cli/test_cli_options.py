"""Shared options: values and where results go."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mkold.base.errors import InputError
from mkold.cli import options


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (options.positive_int, "7", 7),
        (options.positive_int, "10_000", 10_000),
        (options.count, "10M", 10_000_000),
        (options.count, "5k", 5000),
        (options.count, "9", 9),
        (options.positive_float, "0.5", 0.5),
        (options.share, "0.4", 0.4),
        (options.share, "40%", 0.4),
        (options.share, "1", 1.0),
    ],
)
def test_values(kind: Callable[[str], float], text: str, value: float) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (options.positive_int, "0"),
        (options.positive_int, "-1"),
        (options.positive_int, "1.5"),
        (options.count, "M"),
        (options.count, ""),
        (options.count, "0k"),
        (options.positive_float, "nan"),
        (options.positive_float, "inf"),
        (options.positive_float, "0"),
        (options.share, "1.1"),
        (options.share, "0%"),
        (options.share, "nan"),
        (options.share, "x"),
    ],
)
def test_wrong_values(kind: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        kind(text)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_output_options(parser, json_schema="x/1")
    return parser.parse_args(arguments)


def test_deliver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"schema": "x/1", "n": 1}
    options.deliver(parse([]), body, "text")
    options.deliver(parse([]), body, lambda: "made\n")
    assert capsys.readouterr().out == "text\nmade\n"
    options.deliver(parse(["--json"]), body, "text")
    assert json.loads(capsys.readouterr().out) == body
    to_file = parse(["-o", str(tmp_path / "x"), "--json"])
    options.check_output(to_file)
    options.deliver(to_file, body, "text")
    assert json.loads((tmp_path / "x").read_text()) == body
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="--force"):
        options.check_output(to_file)
    options.check_output(parse(["-o", str(tmp_path / "x"), "--force"]))


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        options.deliver(parse(["--json"]), {"x": float("nan")}, "text")
