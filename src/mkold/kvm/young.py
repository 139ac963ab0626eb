"""What a walk does with a young page: the bitmap of ``test_clear_young``.

Source: ``kvm_should_clear_young`` in "mm/kvm: add mmu_notifier_ops->test_clear_young()",
lore 20230526234435.662652-2-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.lang import NULL, Ptr, kernel, u64


@kernel
def kvm_should_clear_young(bitmap: Ptr[u64], bit: u64, clear: u64) -> u64:
    """A young page is met: note it or look it up in ``bitmap``; whether to clear it."""
    if bitmap == NULL:
        return clear
    if clear:
        return (bitmap[bit >> 6] >> (bit & 63)) & 1
    bitmap[bit >> 6] |= 1 << (bit & 63)
    return 0
