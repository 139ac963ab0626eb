"""All subjects, by name."""

from __future__ import annotations

from aging.radix import RADIX
from aging.subject import Subject

SUBJECTS: dict[str, Subject] = {subject.name: subject for subject in (RADIX,)}
