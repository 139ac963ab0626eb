"""How the host's memory differs by the version of the kernel: build parameters.

Each was seen on that version (``docs/truth.md``); of 6.12 two differ, since a patch that the
stable kernels took up between 6.12.95 and 6.12.117.

======================  =================================================================
``ARM64_CONTPTE``       whether blocks of entries are folded, on arm64 (``contpte.py``)
``MGLRU_FORCED_WALK``   whether a pass asked for walks without hardware (``mglru/walk.py``)
``MGLRU_KEEPS_REFS``    whether what comes back from swap is protected (``tiers.py``)
``COLLAPSE_PAST_NOTHING``  whether a call goes on behind an area without a table (likewise)
``COLLAPSE_READ_ONLY``  whether what nobody may write is collapsed (``fault/collapse.py``)
``COW_CHANGE_PTE``      whether a copied page is told of by ``change_pte`` (``fault/memory.py``)
``MGLRU_NONLEAF``       whether a walk leaves out tables that the process did not use
``MGLRU_NOTIFIERS``     whether it asks the notifiers (``mglru/young.py``)
``MGLRU_WORKINGSET``    whether promoted pages are remembered (``mglru/``)
``MPROTECT_BATCH``      whether ``mprotect`` takes entries together (``fault/mprotect.py``)
``PAGEOUT_REFERENCES``  whether MADV_PAGEOUT keeps what the guest used (``fault/madvise.py``)
``PT_RECLAIM``          whether MADV_DONTNEED gives empty tables back (``fault/madvise.py``)
``SPLIT_ZERO_PAGES``    whether a split maps zeros to the zero page (``huge/split.py``)
``SWAPIN_WRITABLE``     how a page comes back from swap for a read (``fault/memory.py``)
======================  =================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping

USUAL = "6.12.117"

_SINCE_6_12 = {
    "ARM64_CONTPTE": 1,
    "COW_CHANGE_PTE": 0,
    "MGLRU_NONLEAF": 0,
    "MGLRU_NOTIFIERS": 1,
    "PAGEOUT_REFERENCES": 0,
    "SPLIT_ZERO_PAGES": 1,
    "SWAPIN_WRITABLE": 1,
}

VERSIONS: Mapping[str, Mapping[str, int]] = {
    "6.1": {
        "MGLRU_FORCED_WALK": 1,
        "MGLRU_KEEPS_REFS": 1,
        "COW_CHANGE_PTE": 1,
        "MGLRU_NONLEAF": 1,
        "MGLRU_NOTIFIERS": 0,
        "PAGEOUT_REFERENCES": 1,
        "SWAPIN_WRITABLE": 0,
    },
    "6.12": {**_SINCE_6_12, "MGLRU_KEEPS_REFS": 1},
    "6.12.117": _SINCE_6_12,
    "7.2": {
        **_SINCE_6_12,
        "COLLAPSE_PAST_NOTHING": 1,
        "COLLAPSE_READ_ONLY": 1,
        "MGLRU_WORKINGSET": 1,
        "MPROTECT_BATCH": 1,
        "PT_RECLAIM": 1,
    },
}


def version_of(release: str) -> str:
    """The version whose rules a kernel follows: the highest not above its release.

    Parameters
    ----------
    release : as ``uname -r`` says it; ``USUAL`` of one that begins with no number
    """
    here = _numbers(release)
    below = [name for name in VERSIONS if _numbers(name) <= here]
    return max(below, key=_numbers, default=USUAL)


def _numbers(release: str) -> tuple[int, ...]:
    found = re.match(r"[0-9]+(\.[0-9]+)*", release)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
