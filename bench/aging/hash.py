"""powerpc's hash table: aging under ``mmu_lock`` (the fast path refuses), and faults.

* A scan is ``kvm_age_rmapp`` page by page: the rmap word's lock, the ring, for each HPTE with R
  its lock, the byte store of R, the tlbie.
* A fault maps an HPTE that is there anew: the host's page table, the HPTE's lock, the rmap
  word's, the retry check, ABSENT, the tlbie, R and V. It does not take ``mmu_lock``.

Known limits: each page is mapped once, by an HPTE of one of its groups.
"""

from __future__ import annotations

from pathlib import Path

from aging.subject import Count, Faults, Scan, Subject
from aging.young import bench_is_young
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm, RevmapEntry, Vcpu
from mkold.kvm.powerpc.book3s import kvm_vm_ioctl_configure_mmu
from mkold.kvm.powerpc.hash.age import kvm_age_rmapp
from mkold.kvm.powerpc.hash.fault import kvmppc_book3s_hv_page_fault
from mkold.kvm.powerpc.hash.guest import guest_hash_page
from mkold.kvm.powerpc.hash.hcall_enter import NO_HPTE
from mkold.kvm.powerpc.hash.hpt import hpt_entry, hpt_group_mask
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GROUP_SHIFT,
    HPTE_R_R,
    HPTE_R_RPN_SHIFT,
    HPTE_V_HVLOCK,
    HPTE_V_SECONDARY,
    HPTE_V_VALID,
    PP_RWRW,
    hpt_hash,
    hpt_vpn,
    hpte_encode_avpn,
)
from mkold.kvm.powerpc.hash.hvlock import unlock_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_LOCK_BIT,
    KVMPPC_RMAP_PRESENT,
    KVMPPC_RMAP_REFERENCED,
    kvmppc_add_revmap_chain,
)
from mkold.kvm.powerpc.hash.vcpu import kvmppc_hv_find_lock_hpte
from mkold.kvm.powerpc.machine import hash_words, machine
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64
from mkold.run.layout import Place

STEP = 256  # pages of which ``hash_read`` looks at one entry in four, a cache line each


@kernel
def hash_free_slot(kvm: Ptr[Kvm], gfn: u64) -> tuple[u64, u64]:
    """A free HPTE of the page's groups, or NO_HPTE; and whether it is the secondary one."""
    hash_ = hpt_hash(hpt_vpn(gfn))
    for secondary in range(2):
        group = (~hash_ if secondary else hash_) & hpt_group_mask(kvm)
        for i in range(1 << HPTE_GROUP_SHIFT):
            index = (group << HPTE_GROUP_SHIFT) + i
            if hpt_entry(kvm, index)[0] == 0:
                return index, secondary
    return NO_HPTE, 0


@kernel
def hash_map(kvm: Ptr[Kvm], n: u64) -> u64:
    """``map``: the table, an HPTE a page, the rings."""
    if kvm_add_memslot(kvm, 0, n, 0) != 0 or kvm_vm_ioctl_configure_mmu(kvm, 0):
        return 1
    for gfn in range(n):
        index, secondary = hash_free_slot(kvm, gfn)
        if index == NO_HPTE:
            return 1
        r = (gfn << HPTE_R_RPN_SHIFT) | PP_RWRW | HPTE_R_R
        kvm.arch.hpt.rev[index].guest_rpte = r
        kvmppc_add_revmap_chain(kvm, kvm.slots[0].rmap + gfn, index)
        hpte = hpt_entry(kvm, index)
        hpte[1] = r
        v = hpte_encode_avpn(hpt_vpn(gfn)) | HPTE_V_VALID
        hpte[0] = v | (HPTE_V_SECONDARY if secondary else 0)
    return 0


@kernel
def hash_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """``fill``."""
    young = 0
    for gfn in range(n):
        hpte = hpt_entry(kvm, kvm.slots[0].rmap[gfn] & KVMPPC_RMAP_INDEX)
        if bench_is_young(gfn, threshold):
            hpte[1] = hpte[1] | HPTE_R_R
            young += 1
        else:
            hpte[1] = hpte[1] & ~HPTE_R_R
    return young


@kernel
def hash_scan(kvm: Ptr[Kvm], n: u64) -> u64:
    """``scan``: under ``mmu_lock``, which is taken once."""
    young = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for gfn in range(n):
        young += kvm_age_rmapp(kvm, gfn)
    kvm_mmu_unlock(kvm)
    return young


@kernel
def hash_ready(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64) -> u64:
    """``ready``: hash mode."""
    return kvm_vm_ioctl_configure_mmu(kvm, 0)


@kernel
def hash_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``bench_fault``: the HPTE that is there is mapped anew, or the guest enters one."""
    index = kvmppc_hv_find_lock_hpte(kvm, page)
    if index == NO_HPTE:
        guest_hash_page(kvm, page, 0)
        return 0
    hpte = hpt_entry(kvm, index)
    v = READ_ONCE(hpte[0]) & ~HPTE_V_HVLOCK
    r = READ_ONCE(hpte[1])
    guest = kvm.arch.hpt.rev[index].guest_rpte
    unlock_hpte(hpte, v)
    return kvmppc_book3s_hv_page_fault(kvm, vcpu, index, v, r, guest, 0)


@kernel
def hash_read(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, count: Ptr[Count]) -> u64:
    """``read``: the rmap words, and an HPTE of each cache line."""
    seen = 0
    gfn = 0
    while gfn < n and not READ_ONCE(count.stop):
        for page in range(gfn, min(gfn + STEP, n), 4):
            word = READ_ONCE(kvm.slots[0].rmap[page])
            seen |= READ_ONCE(hpt_entry(kvm, word & KVMPPC_RMAP_INDEX)[1])
        gfn += STEP
    WRITE_ONCE(count.done, count.done + gfn)
    return seen


def roots(kvm: Place) -> list[int]:
    """The rmap words, the HPTEs, what belongs to them, ``tlbie_lock``, its count, vCPUs."""
    slot = kvm.at + Kvm.offset("slots")
    lock, count, n_vcpus = (
        kvm.at + Kvm.layout.field(name).offset
        for name in ("arch.tlbie_lock", "arch.tlbies", "n_vcpus")
    )
    hpt, rev = kvm["arch.hpt.virt"], kvm["arch.hpt.rev"]
    return [int(kvm.words[slot + 5]), hpt, rev, lock, count, n_vcpus]


DEFINES = {
    "REV_WORDS": RevmapEntry.size,
    "FORW": RevmapEntry.offset("forw"),
    "RMAP_LOCK_BIT": KVMPPC_RMAP_LOCK_BIT,
    "RMAP_PRESENT": KVMPPC_RMAP_PRESENT,
    "RMAP_REFERENCED": KVMPPC_RMAP_REFERENCED,
}
HASH = Subject(
    "powerpc-hash",
    "the hash table of a VM, which is aged under mmu_lock",
    machine,
    scan=Scan(
        hash_map, hash_fill, hash_scan,
        words=lambda n: (1 << 20) + 4 * hash_words(n),
        source=Path(__file__).with_name("hash.c"),
        peers={"age_pages": "C"},
        roots=roots,
        flags=tuple(f"-D{name}=UINT64_C({value})" for name, value in DEFINES.items()),
    ),
    faults=Faults(
        hash_ready, hash_fault, hash_read,
        words=lambda n: (1 << 20) + 4 * hash_words(n),
        paths=("none", "reading", "locked"),
    ),
)  # fmt: skip
