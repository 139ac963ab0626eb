"""Fuzz the litmus reader with atheris: ``python tests/fuzz/fuzz_litmus.py CORPUS_DIR``.

Not run by pytest. Give libFuzzer's options after the folder, such as
``-max_total_time=60 -timeout=5 -rss_limit_mb=1024``.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports():
    from mkold.base.errors import InputError
    from mkold.ir.verify import verify
    from mkold.litmus import parse


def one_input(data: bytes) -> None:
    """Anything but an ``InputError`` is a finding."""
    try:
        program = parse(data.decode("utf-8", "replace"), "fuzz")
    except InputError:
        return
    verify(program.functions)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
