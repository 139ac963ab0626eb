"""All subjects, by name."""

from __future__ import annotations

from aging.arm64 import ARM64
from aging.hash import HASH
from aging.nested import LISTS, MAPPED, ONE
from aging.radix import RADIX
from aging.shadow import CHAINS, SHADOW
from aging.subject import Subject
from aging.tdp import NOAD, TDP

SUBJECTS: dict[str, Subject] = {
    it.name: it for it in (RADIX, HASH, ONE, LISTS, MAPPED, SHADOW, CHAINS, ARM64, TDP, NOAD)
}
