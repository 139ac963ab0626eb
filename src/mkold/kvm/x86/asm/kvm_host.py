"""The VM and the vCPU as KVM on x86 sees them, and the book kept of a page table.

Locks: ``mmu_lock`` is a reader-writer lock. The TDP MMU's entries change under it held for
reading, by compare-and-swap, or for writing; ``tdp_mmu_roots`` changes under
``tdp_mmu_pages_lock`` too and is walked under RCU. What is the shadow MMU's changes under
``mmu_lock`` held for writing, but for ``unsync``, which becomes 1 under
``mmu_unsync_pages_lock`` and ``mmu_lock`` held for reading.

Sources: arch/x86/include/asm/kvm_host.h, arch/x86/kvm/mmu/mmu_internal.h
(``struct kvm_mmu_page``).
Known limits: ``role`` is a bit field there; ``invalid``, which walkers read with no lock, is
a word of its own here, and marked accesses.
"""

from __future__ import annotations

from mkold.kvm import types
from mkold.kvm.memory_cache import KvmMmuMemoryCache
from mkold.lang import Array, Ptr, Struct, atomic64_t, cast, kernel, spinlock_t, u64
from mkold.mm.mm_types import ListHead
from mkold.mm.slab import KmemCache


class KvmMmuPage(Struct):
    """``struct kvm_mmu_page``: what is known of one page table, which lies behind it.

    ``gfn`` is the first guest page that it translates, ``link`` the next root of the VM,
    ``cache`` where it goes when it is freed. The second line is the shadow MMU's: the entries
    that point here, as a word of ``shadow.rmap``; what else tells tables of one ``gfn`` apart;
    how many vCPUs have it as their root; its places among tables of one hash, and of all; of an
    indirect one, what each entry translates (``shadow.pages``).
    ``tdp_mmu_scheduled_root_to_zap``: an invalid root of the TDP MMU still has the VM's
    reference. ``unsync``: the guest may have written to the table that this one follows since
    this one was like it. The table behind begins on a cache line.
    """

    level: u64
    invalid: u64
    ad_disabled: u64
    gfn: u64
    link: Ptr[KvmMmuPage]
    tdp_mmu_root_count: atomic64_t
    cache: Ptr[KmemCache]
    next_dead: Ptr[KvmMmuPage]  # of tables being taken down, by who takes them down
    parent_ptes: u64
    role: u64
    root_count: u64
    hash_next: Ptr[KvmMmuPage]
    lru: ListHead
    shadowed_translation: Ptr[u64]
    tdp_mmu_scheduled_root_to_zap: u64
    unsync: u64
    pad: Array[u64, 7]


@kernel
def sp_spt(sp: Ptr[KvmMmuPage]) -> Ptr[u64]:
    """The page table of ``sp``."""
    return cast(Ptr[u64], sp + 1)


@kernel
def spt_sp(spt: Ptr[u64]) -> Ptr[KvmMmuPage]:
    """What is known of a page table, by the address of its first entry."""
    return cast(Ptr[KvmMmuPage], spt) - 1


class ShadowMmu(Struct):
    """What the shadow MMU keeps for a VM: its tables, how many there are and may be, by what
    they are found, and those that are to be freed."""

    active_mmu_pages: ListHead
    n_used_mmu_pages: u64
    n_max_mmu_pages: u64
    mmu_page_hash: Ptr[u64]
    invalid_list: ListHead
    l1_root: u64  # the guest's page that its root table for a guest of its own is in
    pte_list_desc_cache: KmemCache
    shadowed_info_cache: KmemCache


class KvmArch(Struct):
    """``struct kvm_arch``.

    ``tdp_mmu_pages`` counts the TDP MMU's tables, ``pages`` its leaves by level, smallest
    first.
    """

    tdp_mmu_roots: Ptr[KvmMmuPage]
    tdp_mmu_pages_lock: spinlock_t
    shadow_root_allocated: u64
    indirect_shadow_pages: u64
    tdp_mmu_pages: atomic64_t
    pages: Array[atomic64_t, 3]
    mmu_page_cache: KmemCache
    shadow: ShadowMmu
    mmu_unsync_pages_lock: spinlock_t


class Kvm(types.Kvm):
    """``struct kvm``."""

    arch: KvmArch


class GuestWalker(Struct):
    """``struct guest_walker``: by which of the guest's tables and entries, by level, a page was
    found, and what access these allow."""

    gfn: u64
    pte_access: u64
    table_gfn: Array[u64, 9]
    ptes: Array[u64, 9]


class VcpuArch(Struct):
    """``struct kvm_vcpu_arch``: ``root`` is the table that the hardware walks, of which the
    vCPU holds a reference, or NULL. ``exit_qualification`` says what the entries that the last
    walk met allow: the bits of read, write and execute that all of them have.
    ``guest_mode``: it runs a guest of the guest, whose writes the hardware does not log."""

    root: Ptr[KvmMmuPage]
    exit_qualification: u64
    guest_mode: u64
    pad: Array[u64, 5]
    mmu_pte_list_desc_cache: KvmMmuMemoryCache
    mmu_shadow_page_cache: KvmMmuMemoryCache
    mmu_shadowed_info_cache: KvmMmuMemoryCache
    walker: GuestWalker


class Vcpu(types.Vcpu):
    """``struct kvm_vcpu``."""

    arch: VcpuArch
