"""Objects set aside before ``mmu_lock`` is taken, so that nothing is allocated under it.

Source: virt/kvm/kvm_main.c (``kvm_mmu_topup_memory_cache``, ``kvm_mmu_memory_cache_alloc``).
"""

from __future__ import annotations

from mkold.lang import BUG_ON, Array, Ptr, Struct, kernel, u64
from mkold.mm.slab import KmemCache, kmem_cache_alloc_sleeping

KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE = 15


class KvmMmuMemoryCache(Struct):
    """``struct kvm_mmu_memory_cache``: a vCPU's own."""

    nobjs: u64
    objects: Array[u64, KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE]


@kernel
def kvm_mmu_topup_memory_cache(
    mc: Ptr[KvmMmuMemoryCache], cache: Ptr[KmemCache], want: u64
) -> u64:
    """Have ``want`` objects or more; 0, or 1 if there is no memory. May sleep."""
    while mc.nobjs < want:
        found = kmem_cache_alloc_sleeping(cache)
        if found == 0:
            return 1
        mc.objects[mc.nobjs] = found
        mc.nobjs += 1
    return 0


@kernel
def kvm_mmu_memory_cache_alloc(mc: Ptr[KvmMmuMemoryCache]) -> u64:
    """One of them, as ``kmem_cache_alloc`` gave it."""
    BUG_ON(mc.nobjs == 0)
    mc.nobjs -= 1
    return mc.objects[mc.nobjs]
