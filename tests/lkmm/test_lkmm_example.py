"""The example in the documentation runs as it stands."""

from __future__ import annotations

import textwrap

from mkold.lkmm import Observation, decide


def test_example_of_decide() -> None:
    text = decide.__doc__ or ""
    code = text.split("without barriers::\n")[1]
    names: dict[str, object] = {"Observation": Observation}
    exec(textwrap.dedent(code), names)
    assert "verdict" in names
