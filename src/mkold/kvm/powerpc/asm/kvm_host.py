"""The VM and the vCPU as powerpc Book3S HV sees them.

``mmu_setup_lock`` serialises mode switches. Order: ``mmu_setup_lock``, then ``mmu_lock``.

Source: arch/powerpc/include/asm/kvm_host.h.
"""

from __future__ import annotations

from mkold.kvm import types
from mkold.lang import Array, Ptr, Struct, spinlock_t, u64
from mkold.mm.slab import KmemCache

# kvm.arch.secure_guest
KVMPPC_SECURE_INIT_DONE = 0x2


class KvmArch(Struct):
    """``struct kvm_arch`` of Book3S HV.

    ``radix`` is the mode flag. ``pgtable`` is the root table while in radix mode.
    ``nested_guests`` is not 0 while the VM runs guests of its own.
    """

    radix: u64
    pgtable: Ptr[u64]
    secure_guest: u64
    nested_guests: u64
    process_table: u64
    mmu_ready: u64
    lpcr: u64
    pad: u64
    mmu_setup_lock: spinlock_t
    pad2: Array[u64, 7]
    caches: Array[KmemCache, 4]  # page tables by level: PTE, PMD, PUD, PGD


class Kvm(types.Kvm):
    """``struct kvm``."""

    arch: KvmArch
