"""One colour for each kind of relation, readable on white; ``dark`` on a dark ground."""

from __future__ import annotations

_KINDS = {
    "rf": "rf", "rfe": "rf", "rfi": "rf", "co": "co", "coe": "co", "coi": "co", "fr": "fr",
    "fre": "fr", "fri": "fr", "addr": "dep", "data": "dep", "ctrl": "dep", "dep": "dep",
    "rmw": "dep", "po": "po", "po-loc": "po", "ppo": "po", "mb": "po", "rmb": "po",
    "wmb": "po", "po-rel": "po", "acq-po": "po",
}  # fmt: skip
_LIGHT = {
    "rf": "#b3261e", "co": "#1f5fa8", "fr": "#a15c00", "dep": "#6a3ea1", "po": "#333333",
    "other": "#11705a",
}  # fmt: skip
_DARK = {
    "rf": "#ff8a80", "co": "#82b1ff", "fr": "#ffb74d", "dep": "#c9a6ff", "po": "#dddddd",
    "other": "#6fd8bd",
}  # fmt: skip
KINDS = tuple(_LIGHT)


def kind(relation: str) -> str:
    """The colour class of a relation."""
    return _KINDS.get(relation.rstrip("+"), "other")


def colour(relation: str, *, dark: bool = False) -> str:
    """The colour of a relation."""
    return (_DARK if dark else _LIGHT)[kind(relation)]


def shade(name: str, *, dark: bool = False) -> str:
    """The colour of a class."""
    return (_DARK if dark else _LIGHT)[name]
