"""What the first words hold when a machine starts."""

from __future__ import annotations

from mkold.ir.boot.map import N_WORDS, N_WORDS_TOTAL, RINGS_WORDS


def n_words_in_all(n_words: int) -> int:
    """Words of a memory of which a user may name ``n_words``."""
    return n_words + RINGS_WORDS


def start(n_words: int) -> dict[int, int]:
    """The words that are not zero, by address."""
    return {N_WORDS: n_words, N_WORDS_TOTAL: n_words_in_all(n_words)}
