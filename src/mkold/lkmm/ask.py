"""What is asked of an engine, beside the program that it is asked about."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_UNROLL = 16


@dataclass(frozen=True, slots=True)
class Ask:
    """How much an engine is to find out, and at what cost.

    Parameters
    ----------
    states : list the final states, and look at every allowed execution. Without it an
        engine may stop at the first execution that answers the question: ``Always`` may
        read ``Sometimes``, and ``flags`` has but what leaves no meaning to an answer
        (``verdict.FAULTS``)
    flags : keep flags; they cost nothing beyond ``states``
    witness : keep an execution that satisfies the formula, or one that the model forbids
        together with its cycle, and one execution for each flag
    hangs : look at threads that wait, for what goes wrong meanwhile and for ever. An engine
        that can't says that it assumed it (``Verdict.assumed``)
    timeout_s : processor time after which the verdict is ``Status.TIMEOUT``
    max_unroll : rounds of a loop; where more could matter the verdict is
        ``Status.BOUNDED``
    """

    states: bool = True
    flags: bool = True
    witness: bool = False
    hangs: bool = True
    timeout_s: float | None = None
    max_unroll: int = DEFAULT_UNROLL
