"""What can be done to a guest and its host: a file a topic, named in ``TOPICS``.

==========================  ================================================================
``guest-read``, ``-write``  the guest enters, touches the pages in order, and leaves
``host-read``, ``-write``   the process (the VMM) touches its own memory
``clear-young``             ``mmu_notifier_clear_young`` for each page, or each ``K`` pages
``clear-flush-young``       ``mmu_notifier_clear_flush_young`` likewise
``test-young``              ``mmu_notifier_test_young`` for each page
``clear-host-young``        the process's own accessed bits, tested and cleared; and flushed
``dontneed``, ``pageout``   ``madvise(MADV_DONTNEED)``, ``MADV_PAGEOUT`` to swap
``aging-pass``              a pass of the multi-generational LRU, walking all; and flushed
``alias-read``, ``-write``  POWER, hash: the guest touches pages by their second names
``mmu-hash``, ``-radix``    POWER: the VM gets an empty hash table, or a radix tree
``l2-read``, ``l2-write``   the guest's guest touches pages; L1 maps what it lacks
``l1-unmap``, ``-protect``  L1 takes pages, or the permission to write, from L2
``l1-clear-young``          R or A in L1's own table, tested and cleared; it tells nobody
``l1-clean``                x86: D in L1's own table, likewise
``l1-flush``, ``-all``      POWER: L1 has all translations of L2 forgotten; or its table too
``evict by K``              it evicts K pages, but none of the two youngest generations; flushed
``log-on``, ``log-off``     ``KVM_MEM_LOG_DIRTY_PAGES`` of the memslots with any of the pages
``get-dirty-log``           ``KVM_GET_DIRTY_LOG`` of these memslots
``clear-dirty-log``         ``KVM_CLEAR_DIRTY_LOG`` for the pages
``log-auto``, ``-manual``,  what getting leaves to clearing, and whether a log begins with all
``log-all-set``             bits set (``KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2``)
``drop``, ``collapse``      ``MADV_DONTNEED``, ``MADV_COLLAPSE`` for each run of pages at once
``damon-watch``             a kdamond has prepared these pages, a region each
``damon-paddr``             likewise, by the addresses of their frames
``damon-check``             it checks them, answers which were accessed, and ends
``protect``                 ``mprotect(PROT_READ)`` for each run of pages, and back
``loop-read``, ``-write``   the guest goes round the pages, while the steps behind it are done
``halt``                    it leaves
``slot-delete``, ``-create``  the memslots with any of the pages go, and come back
==========================  ================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.validate.topic import Kind, Topic
from mkold.validate.topics.access import ACCESS
from mkold.validate.topics.advice import ADVICE
from mkold.validate.topics.aging import AGING
from mkold.validate.topics.damon import DAMON, DAMON_PHYSICAL
from mkold.validate.topics.dirty import DIRTY, DIRTY_MANUAL
from mkold.validate.topics.hash import HASH
from mkold.validate.topics.huge import HUGE
from mkold.validate.topics.lru import EVICTION, LRU
from mkold.validate.topics.nested import NESTED
from mkold.validate.topics.nested_x86 import NESTED_X86
from mkold.validate.topics.running import RUNNING
from mkold.validate.topics.slots import SLOTS
from mkold.validate.vm import Vm

TOPICS: tuple[Topic, ...] = (
    ACCESS, AGING, ADVICE, LRU, EVICTION, HASH, NESTED, NESTED_X86, DIRTY, DIRTY_MANUAL, HUGE,
    DAMON, DAMON_PHYSICAL, RUNNING, SLOTS,
)  # fmt: skip
KINDS: Mapping[str, Kind] = {
    name: kind for topic in TOPICS for name, kind in topic.kinds.items()
}


def topic_of(name: str, vm: Vm) -> Topic | None:
    """The topic of a step of ``vm``; None: it can't have it."""
    for topic in TOPICS:
        if name in topic.kinds and topic.fits(vm):
            return topic
    return None
