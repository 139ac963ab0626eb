"""The first words of every memory, and what they hold at first.

``map``    where everything is
``start``  the words that are not zero
"""

from __future__ import annotations

from mkold.ir.boot.map import (
    BOOT_WORDS,
    BUG_COUNT,
    BUG_CPU,
    BUG_SITE,
    BUG_VALUE,
    KVM_ARCH_MODULE,
    KVM_MODULE,
    LINE_WORDS,
    MAX_CPUS,
    MEMBLOCK,
    N_WORDS,
    N_WORDS_TOTAL,
    NULL_WORDS,
    PAGE_ALLOC,
    PAGE_ALLOC_CPU,
    RCU_CPU,
    RCU_GP,
    RCU_GP_LOCK,
    RCU_RING_ENTRIES,
    RCU_RING_WORDS,
    RINGS_WORDS,
    STACK_WORDS,
    STACKS,
    STOP,
    WARN_COUNT,
    WARN_CPU,
    WARN_SITE,
)
from mkold.ir.boot.start import n_words_in_all, start

__all__ = [
    "BOOT_WORDS",
    "BUG_COUNT",
    "BUG_CPU",
    "BUG_SITE",
    "BUG_VALUE",
    "KVM_ARCH_MODULE",
    "KVM_MODULE",
    "LINE_WORDS",
    "MAX_CPUS",
    "MEMBLOCK",
    "NULL_WORDS",
    "N_WORDS",
    "N_WORDS_TOTAL",
    "PAGE_ALLOC",
    "PAGE_ALLOC_CPU",
    "RCU_CPU",
    "RCU_GP",
    "RCU_GP_LOCK",
    "RCU_RING_ENTRIES",
    "RCU_RING_WORDS",
    "RINGS_WORDS",
    "STACKS",
    "STACK_WORDS",
    "STOP",
    "WARN_COUNT",
    "WARN_CPU",
    "WARN_SITE",
    "n_words_in_all",
    "start",
]
