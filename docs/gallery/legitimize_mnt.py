"""mntput() against __legitimize_mnt(): a mount is shut down while a lookup gets hold of it.

The lookup counts itself and then looks whether ``mount_lock`` was taken; ``mntput()`` takes
it and then adds up the counts. Each writes one word and reads the other's. The mount itself
is freed by RCU, so it is its shutting down that must not happen.

    mkold check docs/gallery/legitimize_mnt.py --explain
"""

from mkold.check import Case, Claim, Drop, End, Scenario, Setup
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, Struct, kernel, smp_mb, smp_rmb, u64

SOURCE = 'commit 119e1ef80ecf ("fix __legitimize_mnt()/mntput() race")'
SENTENCE = "A mount that a lookup holds is not shut down."


class Mount(Struct):
    mount_lock: u64  # its sequence count
    mnt_count: u64  # of the lookup's CPU
    puts: u64  # of the other's, which held the last reference


@kernel
def legitimize_mnt(mnt: Ptr[Mount]) -> bool:
    seq = READ_ONCE(mnt.mount_lock)
    smp_rmb()
    if seq & 1:
        return False
    count = READ_ONCE(mnt.mnt_count)
    WRITE_ONCE(mnt.mnt_count, count + 1)
    smp_mb()
    return READ_ONCE(mnt.mount_lock) == seq


@kernel
def mntput_no_expire(mnt: Ptr[Mount]) -> bool:
    """Whether the mount is shut down."""
    WRITE_ONCE(mnt.puts, READ_ONCE(mnt.puts) + 1)
    seq = READ_ONCE(mnt.mount_lock)
    WRITE_ONCE(mnt.mount_lock, seq + 1)  # lock_mount_hash()
    smp_mb()
    return READ_ONCE(mnt.mnt_count) == READ_ONCE(mnt.puts)


def lookup_and_put(m: Setup) -> None:
    mnt = m.new(Mount, "mnt")
    m.poke(mnt + Mount.offset("mnt_count"), 1)
    m.thread("lookup", (legitimize_mnt, mnt))
    m.thread("put", (mntput_no_expire, mnt))

    def both(end: End) -> bool:
        return bool(end.result("lookup") and end.result("put"))

    m.never("held-and-shut-down", both, "The mount is held by a lookup and shut down.")


SCENARIO = Scenario("mount", lookup_and_put)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() on either side", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case(
                "no smp_mb() in __legitimize_mnt()", SCENARIO, (Drop("legitimize_mnt:smp_mb"),)
            ),
            Case("no smp_mb() in mntput()", SCENARIO, (Drop("mntput_no_expire:smp_mb"),)),
        ),
    ),
]
