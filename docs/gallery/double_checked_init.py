"""fs-verity: a second opener finds the file's info ready, and what it rests on not.

The first opener sets up the hash algorithm, a global, and then the info of the file. Who
finds the info skips both. What lies behind the pointer is ordered by it; the global is not.

    mkold check docs/gallery/double_checked_init.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cmpxchg_release,
    kernel,
    smp_load_acquire,
    u64,
)

SOURCE = 'commit f3db0bed4583 ("fs-verity: use smp_load_acquire() for ->i_verity_info")'
SENTENCE = "Who finds the info ready finds the hash algorithm ready."


class Info(Struct):
    root_hash: u64


class Inode(Struct):
    i_verity_info: Ptr[Info]


class HashAlg(Struct):
    tfm: u64


@kernel
def ensure_verity_info(inode: Ptr[Inode], alg: Ptr[HashAlg], new: Ptr[Info]) -> u64:
    """The hash of the file under the algorithm; 0 if there is none."""
    info = smp_load_acquire(inode.i_verity_info)
    if not info:
        WRITE_ONCE(alg.tfm, 1)
        WRITE_ONCE(new.root_hash, 5)
        info = cmpxchg_release(inode.i_verity_info, NULL, new)
        if not info:
            info = new
    return READ_ONCE(alg.tfm) * READ_ONCE(info.root_hash)


def two_openers(m: Setup) -> None:
    inode, alg = m.new(Inode, "inode"), m.new(HashAlg, "alg")
    m.thread("first", (ensure_verity_info, inode, alg, m.new(Info, "info 1")))
    m.thread("second", (ensure_verity_info, inode, alg, m.new(Info, "info 2")))
    m.never(
        "not-ready",
        lambda end: 0 in (end.result("first"), end.result("second")),
        "An opener hashes with an algorithm that is not set up.",
    )


SCENARIO = Scenario("openers", two_openers)
ONCE = (Swap("ensure_verity_info:smp_load_acquire", "READ_ONCE"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_load_acquire()", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("READ_ONCE()", SCENARIO, ONCE),)),
]
