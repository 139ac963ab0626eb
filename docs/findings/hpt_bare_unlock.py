"""Aging lets go of an HPTE with no barrier: the case of claim 23, on its own.

mkold check docs/findings/hpt_bare_unlock.py --explain
"""

from dataclasses import replace

from mkold.check import Case
from mkold.claims.powerpc.hash_locks import BARE, CLEAR_REF_AGE
from mkold.claims.powerpc.hash_locks import CLAIMS as LOCKS

CLAIMS = [
    replace(
        claim,
        cases=(
            Case("with a release", CLEAR_REF_AGE),
            Case("HPTE let go by a bare store: aging", CLEAR_REF_AGE, BARE, decides=False),
        ),
    )
    for claim in LOCKS
    if claim.name.startswith("23-")
]
