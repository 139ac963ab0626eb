"""Options of the whole suite, which is sorted by purpose.

Without options the quick tests run, in parallel with ``-n 2``. ``--runslow`` adds what takes
long; ``--runquality`` what asks how good the answers are: seeded faults that must be
caught, hard bugs that must be found, pictures that must be small.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

PURPOSES = ("slow", "quality")


def pytest_addoption(parser: pytest.Parser) -> None:
    for purpose in PURPOSES:
        text = f"run tests marked {purpose} too"
        parser.addoption(f"--run{purpose}", action="store_true", help=text)
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


def pytest_configure(config: pytest.Config) -> None:
    """Properties get fewer examples where time matters, the usual hundred with the slow; a
    busy machine is no failure of theirs."""
    settings.register_profile("quick", max_examples=35, deadline=None)
    settings.register_profile("slow", deadline=None)
    settings.load_profile("slow" if config.getoption("--runslow") else "quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for purpose in PURPOSES:
        if config.getoption(f"--run{purpose}"):
            continue
        skip = pytest.mark.skip(reason=f"{purpose}: run with --run{purpose}")
        for item in items:
            if purpose in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Tests of one file share what they computed, so they stay together."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare text with a golden file, or rewrite the file under ``--update-golden``."""
    update = request.config.getoption("--update-golden")

    def compare(path: Path, text: str) -> None:
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing; make it with --update-golden"
        assert text == path.read_text()

    return compare
