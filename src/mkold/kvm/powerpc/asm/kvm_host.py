"""The VM and the vCPU as powerpc Book3S HV sees them.

``mmu_setup_lock`` serialises mode switches. Order of the locks: ``mmu_setup_lock``,
``mmu_lock``, then of the hash table an HPTE's, an rmap word's, ``tlbie_lock``.

A VM is run by HV or by PR: ``kvm.arch.kvm_ops`` is that one's table of operations, taken
from a global pointer, which is NULL while the implementation is not loaded.

Sources: arch/powerpc/include/asm/kvm_host.h, kvm_ppc.h (``struct kvmppc_ops``).
Known limits: of the table, what aging, unmapping and the modes need.
"""

from __future__ import annotations

from mkold.ir.boot import KVM_ARCH_MODULE
from mkold.kvm import types
from mkold.lang import (
    Array,
    Fn,
    Ptr,
    Struct,
    atomic64_t,
    cast,
    kernel,
    mutex,
    parameter,
    spinlock_t,
    u32,
    u64,
)
from mkold.mm.slab import KmemCache

# kvm.arch.secure_guest
KVMPPC_SECURE_INIT_DONE = 0x2
# How many lists a vCPU's shadow entries are in, under PR.
SHADOW_LISTS = 4

# An L1 hypervisor numbers its guests from 1 up to one less than this, 8 at most.
KVM_MAX_NESTED_GUESTS = parameter("KVM_MAX_NESTED_GUESTS", 8)


class RevmapEntry(Struct):
    """``struct revmap_entry``: what belongs to one HPTE beside it.

    ``guest_rpte`` is the second word as the guest gave it, under the HPTE's lock;
    ``forw`` and ``back`` link the HPTEs that map one guest page, by index, under the lock of
    that page's rmap word.
    """

    guest_rpte: u64
    forw: u32
    back: u32


class KvmHptInfo(Struct):
    """``struct kvm_hpt_info``: two words an HPTE at ``virt``, ``1 << (order - 4)`` of them."""

    virt: Ptr[u64]
    rev: Ptr[RevmapEntry]
    order: u64


class VmallocPool(Struct):
    """Areas that were given back, by size (``hash.vmalloc``)."""

    lock: spinlock_t
    head: Ptr[u64]
    pad: Array[u64, 6]


class KvmNestedGuest(Struct):
    """``struct kvm_nested_guest``: L0's idea of a guest (L2) of the guest (L1).

    ``l1_lpid`` is L1's number for it. ``refcnt`` is guarded by ``mmu_lock``, ``l1_gr_to_hr``
    (where L1 says that its table of L2's memory is) by ``tlb_lock``, which comes before
    ``mmu_lock``. The shadow tree is changed under both, or under ``mmu_lock`` to take away.
    """

    l1_lpid: u64
    shadow_pgtable: Ptr[u64]
    l1_gr_to_hr: u64
    refcnt: u64
    tlb_lock: mutex
    pad: Array[u64, 3]


class RmapNested(Struct):
    """``struct rmap_nested``: an entry of a page's list; see ``nested.rmap``.

    ``cache`` is where it goes when it is freed.
    """

    next: u64
    rmap: u64
    cache: Ptr[KmemCache]


class KvmArch(Struct):
    """``struct kvm_arch`` of Book3S HV.

    ``radix`` is the mode flag. ``pgtable`` is the root table while in radix mode, ``hpt`` the
    table while in hash mode.
    ``vcpus_running`` counts vCPUs that are in the hypervisor and may be at the HPT.
    ``guest_ptes`` is what the guest's own kernel keeps by page, in hash mode.
    ``nested_guests`` is not 0 while the VM runs guests of its own, which it may where
    ``nested_enable`` is set; they are in ``kvm_nested_guest_idr`` by L1's numbers.
    """

    radix: u64
    pgtable: Ptr[u64]
    secure_guest: u64
    nested_guests: u64
    process_table: u64
    mmu_ready: u64
    lpcr: u64
    kvm_ops: Ptr[KvmppcOps]
    mmu_setup_lock: mutex
    hpt: KvmHptInfo
    guest_ptes: Ptr[u64]
    pr: u64  # PR runs the VM
    pad2: Array[u64, 2]
    caches: Array[KmemCache, 4]  # page tables by level: PTE, PMD, PUD, PGD; PR: its entries
    vcpus_running: atomic64_t
    pad3: Array[u64, 7]
    tlbie_lock: spinlock_t
    tlbies: u64
    pad4: Array[u64, 6]
    nested_enable: u64
    l1_ptcr: u64
    pad5: Array[u64, 6]
    kvm_nested_guest_idr: Array[u64, 8]
    nested_caches: Array[KmemCache, 2]  # guests of the guest, and nodes of the reverse map


class Kvm(types.Kvm):
    """``struct kvm``."""

    arch: KvmArch


class ShadowFault(Struct):
    """What a fault of L2 has found out: what is to be mapped, and what of L1's that was
    copied from. ``hva`` is the host page of ``gfn``."""

    n_gfn: u64
    pte: u64  # the shadow leaf to be, of ``level``
    level: u64
    gfn: u64  # L1's page of ``n_gfn``
    l1_pte: u64  # the VM's own leaf for it, of ``l1_level``, when it was copied
    l1_level: u64
    hva: u64
    mmu_seq: u64
    spare: Ptr[u64]  # a zeroed table, or NULL
    spare_level: u64
    pad: Array[u64, 6]


class HpteCache(Struct):
    """``struct hpte_cache``: a shadow entry of a vCPU under PR; see ``pr.shadow``."""

    next: Ptr[HpteCache]
    gfn: u64
    pfn: u64
    may_write: u64
    cache: Ptr[KmemCache]


class VcpuArch(Struct):
    """``struct kvm_vcpu_arch``: ``nested`` is the L2 guest that the vCPU runs, or NULL;
    ``shadow`` has its entries under PR, by page, under ``shadow_lock``."""

    nested: Ptr[KvmNestedGuest]
    shadow_lock: spinlock_t
    shadow: Array[Ptr[HpteCache], SHADOW_LISTS]
    pad: Array[u64, 2]
    fault: ShadowFault


class Vcpu(types.Vcpu):
    """``struct kvm_vcpu``."""

    arch: VcpuArch


class KvmppcOps(Struct):
    """``struct kvmppc_ops``; what they do is what the hooks of the like name do.

    ``test_clear_young`` is NULL where there is no fast path.
    """

    init_vm: Fn[[Ptr[Kvm]], u64]
    destroy_vm: Fn[[Ptr[Kvm]], None]
    unmap_gfn_range: Fn[[Ptr[Kvm], u64, u64], u64]
    set_spte_gfn: Fn[[Ptr[Kvm], u64, u64], u64]
    age_gfn: Fn[[Ptr[Kvm], u64, u64], u64]
    test_age_gfn: Fn[[Ptr[Kvm], u64, u64], u64]
    test_clear_young: Fn[[Ptr[Kvm], u64, u64, u64, Ptr[u64], u64], tuple[u64, u64]]
    configure_mmu: Fn[[Ptr[Kvm], u64], u64]


class KvmppcModule(Struct):
    """What the architecture's part of the module keeps for all VMs."""

    kvmppc_hv_ops: Ptr[KvmppcOps]
    pad: Array[u64, 7]
    kvm_ops_hv: KvmppcOps
    kvmppc_pr_ops: Ptr[KvmppcOps]
    pad2: Array[u64, 7]
    kvm_ops_pr: KvmppcOps
    hpt_pool: VmallocPool


@kernel
def kvmppc_module() -> Ptr[KvmppcModule]:
    """The one there is."""
    return cast(Ptr[KvmppcModule], KVM_ARCH_MODULE)
