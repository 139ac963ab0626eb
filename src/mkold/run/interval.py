"""How sure a ratio of two paths is: an interval from rounds that were taken in turns.

The ratio is that of the two columns. Its interval comes from leaving out one turn after the
other (the jackknife) on the logarithm of the ratio, with Student's t, so that what drifts
with the host and hits both paths of a turn alike cancels out.

Sources: B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans" (1982), ch. 3;
quantiles of t: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 26.7.5.
Known limits: a quantile such as p99 is no smooth function of the rounds, so its interval is
rough; fewer than three turns give none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import TypeVar

CONFIDENCE = 0.95
MIN_TURNS = 3

R = TypeVar("R")
Value = Callable[[Sequence[R]], float | None]


@dataclass(frozen=True, slots=True)
class Ratio:
    """``value`` and its interval; ``low`` and ``high`` are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def seen(self) -> bool:
        """Whether there is a difference that the interval does not explain."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def half_width(self) -> float:
        """Half the interval as a share of the ratio; infinite where there is none."""
        if self.low is None or self.high is None:
            return math.inf
        return (self.high - self.low) / (2 * self.value)


def student_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t with ``degrees`` of freedom, within 1 %."""
    p = (1 + confidence) / 2
    if degrees == 1:
        return math.tan(math.pi * (p - 0.5))
    if degrees == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3 + g4 / degrees**4


def ratio(value: Value[R], other: Sequence[R], base: Sequence[R]) -> Ratio | None:
    """``value(other) / value(base)``, None where either is missing or the base is 0.

    Parameters
    ----------
    value : what is compared, of any number of rounds together
    other, base : rounds of the two paths; those at the same place are of one turn
    """

    def quotient(turns: Sequence[int] | None) -> float | None:
        above = value(_those(other, turns))
        below = value(_those(base, turns))
        return above / below if above is not None and below else None

    return _jackknife(quotient, min(len(other), len(base)))


def spread(value: Value[R], rounds: Sequence[R]) -> Ratio | None:
    """``value(rounds)`` itself with its interval; None where there is no value."""
    return _jackknife(lambda turns: value(_those(rounds, turns)), len(rounds))


def _those(rounds: Sequence[R], turns: Sequence[int] | None) -> Sequence[R]:
    return rounds if turns is None else [rounds[i] for i in turns]


def _jackknife(value: Callable[[Sequence[int] | None], float | None], n: int) -> Ratio | None:
    """``value(None)``, of all turns, and what leaving out each of the ``n`` in turn tells."""
    whole = value(None)
    if whole is None:
        return None
    if n < MIN_TURNS or whole <= 0:
        return Ratio(whole)
    left_out = []
    for i in range(n):
        part = value([k for k in range(n) if k != i])
        if part is None or part <= 0:
            return Ratio(whole)
        left_out.append(math.log(part))
    mean = fmean(left_out)
    error = math.sqrt((n - 1) / n * sum((x - mean) ** 2 for x in left_out))
    reach = student_t(n - 1) * error
    return Ratio(whole, whole * math.exp(-reach), whole * math.exp(reach))
