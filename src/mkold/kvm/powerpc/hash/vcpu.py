"""A vCPU's fault in hash mode: the guest's own business, or the hypervisor's.

* No HPTE, or the guest's own view forbids the access: the guest's kernel handles it.
* An HPTE that is ABSENT, or that the host made read-only: the hypervisor maps it.

The vCPU is outside guest mode and counted in ``vcpus_running``: whoever stops the vCPUs to
take the table away waits for it (``smp_mb`` on both sides: it sees ``mmu_ready`` off, or is
counted).

Source: arch/powerpc/kvm/book3s_hv_rm_mmu.c (``kvmppc_hpte_hv_fault``,
``kvmppc_hv_find_lock_hpte``), book3s_hv.c (``vcpus_running``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.fault import kvmppc_book3s_hv_page_fault
from mkold.kvm.powerpc.hash.guest import guest_hash_page
from mkold.kvm.powerpc.hash.hcall_enter import NO_HPTE
from mkold.kvm.powerpc.hash.hpt import hpt_entry, hpt_group_mask
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GROUP_SHIFT,
    HPTE_V_HVLOCK,
    HPTE_V_SECONDARY,
    HPTE_V_VALID,
    hpt_hash,
    hpt_vpn,
    hpte_encode_avpn,
    hpte_is_writable,
    hpte_matches,
    name_gfn,
)
from mkold.kvm.powerpc.hash.hvlock import lock_hpte, unlock_hpte
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, Vcpu
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    atomic_fetch_sub_release,
    atomic_inc,
    cpu_relax,
    kernel,
    smp_load_acquire,
    smp_mb,
    u64,
)


@kernel
def kvmppc_hv_find_lock_hpte(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """The index of the page's HPTE, mapped or ABSENT, locked; or NO_HPTE."""
    vpn = hpt_vpn(gfn)
    avpn = hpte_encode_avpn(vpn)
    hash_ = hpt_hash(vpn)
    for secondary in range(2):
        group = (~hash_ if secondary else hash_) & hpt_group_mask(kvm)
        first = group << HPTE_GROUP_SHIFT
        bits = HPTE_V_SECONDARY if secondary else 0
        for i in range(1 << HPTE_GROUP_SHIFT):
            hpte = hpt_entry(kvm, first + i)
            if hpte_matches(READ_ONCE(hpte[0]), avpn, bits):
                lock_hpte(hpte)
                v = READ_ONCE(hpte[0])
                if hpte_matches(v, avpn, bits):
                    return first + i
                unlock_hpte(hpte, v)
    return NO_HPTE


@kernel
def kvmppc_hpte_hv_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """The fault, by what the table holds for the page; RESUME_GUEST or RESUME_HOST."""
    index = kvmppc_hv_find_lock_hpte(kvm, gfn)
    if index == NO_HPTE:
        guest_hash_page(kvm, gfn, write)
        return RESUME_GUEST
    hpte = hpt_entry(kvm, index)
    v = READ_ONCE(hpte[0]) & ~HPTE_V_HVLOCK
    r = READ_ONCE(hpte[1])
    guest = kvm.arch.hpt.rev[index].guest_rpte
    unlock_hpte(hpte, v)
    if write and not hpte_is_writable(guest):
        guest_hash_page(kvm, gfn, write)
        return RESUME_GUEST
    if (v & HPTE_V_VALID) and (hpte_is_writable(r) or not write):
        return RESUME_GUEST  # somebody else has mapped it meanwhile
    return kvmppc_book3s_hv_page_fault(kvm, vcpu, index, v, r, guest, write)


@kernel
def kvmppc_hash_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``; as ``kvmppc_book3s_radix_page_fault``."""
    vcpu.stat.faults += 1
    if gfn_to_memslot(kvm, name_gfn(gfn)) == NULL:
        return RESUME_HOST
    result: u64 = RESUME_GUEST
    atomic_inc(kvm.arch.vcpus_running)
    smp_mb()  # pairs with the one in kvm_stop_vcpus
    if smp_load_acquire(kvm.arch.mmu_ready) and not READ_ONCE(kvm.arch.radix):
        result = kvmppc_hpte_hv_fault(kvm, vcpu, gfn, write)
    else:
        cpu_relax()
    atomic_fetch_sub_release(kvm.arch.vcpus_running, 1)
    return result
