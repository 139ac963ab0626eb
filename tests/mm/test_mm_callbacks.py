"""Tables that large leaves replace are freed while the guest runs."""

from __future__ import annotations

from mm_host import Host

from mkold.ir.boot import RCU_RING_ENTRIES
from mkold.ir.module import collect
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.types import RESUME_GUEST
from mkold.mm.slab import KmemCache
from mkold.sync.rcu import rcu_core

PAGE = 600  # in the second table, all of which the slot has


def test_faults_run_the_callbacks_when_many_are_queued() -> None:
    """One page is mapped by a table and by a leaf of 2 MiB in turn, more often than the
    ring of callbacks is long and than there is memory for tables."""
    host = Host(n_pages=1024)
    machine = host.machine
    kvm, vcpu = machine.kvm.at, machine.vcpus[0].at
    most = 0
    for i in range(2 * (RCU_RING_ENTRIES + 100)):
        machine.call("kvm_memslot_set_level", kvm, 0, i & 1)
        result = machine.call("kvmppc_book3s_radix_page_fault", kvm, vcpu, PAGE, 0)
        assert result == RESUME_GUEST
        most = max(most, host.call("rcu_pending"))
    assert most == collect([rcu_core]).parameters["RCU_QHIMARK"] + 1
    at = kvm + Kvm.layout.field("arch.caches").offset + KmemCache.offset("nr_objects")
    assert machine.memory.words[at] < 2 * most, "tables are used again"
