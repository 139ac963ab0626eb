"""A reference taken from zero: the lookup finds an object whose last reference is gone.

The last put takes the channel off the list and frees it, but between its count's zero and the
list's lock a lookup still finds it.

    mkold check docs/gallery/kref.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    atomic_add_unless,
    atomic_dec_and_test,
    atomic_inc,
    atomic_t,
    kernel,
    poison,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = 'commit d0be8347c623 ("Bluetooth: L2CAP: Fix use-after-free caused by l2cap_chan_put")'
SENTENCE = "A channel that a lookup returns is there."


class Chan(Struct):
    kref: atomic_t
    psm: u64


class ChanList(Struct):
    lock: spinlock_t
    chan: Ptr[Chan]


@kernel
def l2cap_chan_put(list: Ptr[ChanList], chan: Ptr[Chan]) -> None:
    if atomic_dec_and_test(chan.kref):
        spin_lock(list.lock)
        WRITE_ONCE(list.chan, NULL)
        spin_unlock(list.lock)
        poison(chan.kref, 2)


@kernel
def receive(list: Ptr[ChanList]) -> u64:
    spin_lock(list.lock)
    chan = READ_ONCE(list.chan)
    if chan and not atomic_add_unless(chan.kref, 1, 0):  # kref_get_unless_zero()
        chan = NULL
    spin_unlock(list.lock)
    if not chan:
        return 0
    psm = READ_ONCE(chan.psm)
    l2cap_chan_put(list, chan)
    return psm


@kernel
def receive_with_kref_get(list: Ptr[ChanList]) -> u64:
    spin_lock(list.lock)
    chan = READ_ONCE(list.chan)
    if chan:
        atomic_inc(chan.kref)
    spin_unlock(list.lock)
    if not chan:
        return 0
    psm = READ_ONCE(chan.psm)
    l2cap_chan_put(list, chan)
    return psm


def lookup_and_put(lookup: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        list_, chan = m.new(ChanList, "list"), m.new(Chan, "chan")
        m.poke(list_ + 1, chan)
        m.poke(chan, 1)
        m.poke(chan + 1, 5)
        m.thread("rx", (lookup, list_))
        m.thread("close", (l2cap_chan_put, list_, chan))

    return Scenario(f"chan-{lookup.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim(
        "fixed", SENTENCE, SOURCE, (Case("kref_get_unless_zero()", lookup_and_put(receive)),)
    ),
    Claim(
        "bug", SENTENCE, SOURCE, (Case("kref_get()", lookup_and_put(receive_with_kref_get)),)
    ),
]
