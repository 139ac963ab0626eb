"""afs: kfree() where kfree_rcu() is needed: a reader still counts the servers of the old list.

The volume's server list is replaced; its last reference frees it.

    mkold check docs/gallery/kfree_rcu.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    atomic_dec_and_test,
    atomic_t,
    call_rcu,
    cast,
    kernel,
    poison,
    rcu_assign_pointer,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

SOURCE = 'commit e6bace7313d6 ("afs: Fix afs_server_list to be cleaned up with RCU")'
SENTENCE = "A reader of the server list reads one that is there."


class ServerList(Struct):
    usage: atomic_t
    nr_servers: u64


class Volume(Struct):
    servers: Ptr[ServerList]


@kernel
def free_serverlist(word: u64) -> None:
    slist = cast(Ptr[ServerList], word)
    poison(slist.usage, 2)


@kernel
def afs_put_serverlist(slist: Ptr[ServerList]) -> None:
    if atomic_dec_and_test(slist.usage):
        call_rcu(free_serverlist, slist)  # kfree_rcu()


@kernel
def afs_put_serverlist_at_once(slist: Ptr[ServerList]) -> None:
    if atomic_dec_and_test(slist.usage):
        free_serverlist(slist)


@kernel
def count_servers(volume: Ptr[Volume]) -> u64:
    rcu_read_lock()
    slist = rcu_dereference(volume.servers)
    nr = READ_ONCE(slist.nr_servers)
    rcu_read_unlock()
    return nr


@kernel
def update(volume: Ptr[Volume], new: Ptr[ServerList]) -> None:
    old = READ_ONCE(volume.servers)
    rcu_assign_pointer(volume.servers, new)
    afs_put_serverlist(old)


@kernel
def update_at_once(volume: Ptr[Volume], new: Ptr[ServerList]) -> None:
    old = READ_ONCE(volume.servers)
    rcu_assign_pointer(volume.servers, new)
    afs_put_serverlist_at_once(old)


def reader_and(updating: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        volume = m.new(Volume, "volume")
        old, new = m.new(ServerList, "old"), m.new(ServerList, "new")
        m.poke(volume, old)
        for slist, nr in ((old, 1), (new, 2)):
            m.poke(slist, 1)
            m.poke(slist + 1, nr)
        m.thread("reader", (count_servers, volume))
        m.thread("updater", (updating, volume, new))

    return Scenario(f"servers-{updating.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("kfree_rcu()", reader_and(update)),)),
    Claim("bug", SENTENCE, SOURCE, (Case("kfree()", reader_and(update_at_once)),)),
]
