"""Which rules of the host's memory a kernel follows, by its release."""

from __future__ import annotations

import pytest

from mkold.mm.versions import USUAL, version_of


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-56-cloud-amd64", "6.1"),
        ("6.12.95+deb12-powerpc64le", "6.12"),
        ("6.12.117+deb12-cloud-amd64", "6.12.117"),
        ("6.13.1", "6.12.117"),
        ("7.2.13+deb14-cloud-amd64", "7.2"),
        ("5.10", USUAL),
        ("", USUAL),
    ],
)
def test_a_release_follows_the_highest_version_below_it(release: str, version: str) -> None:
    assert version_of(release) == version
