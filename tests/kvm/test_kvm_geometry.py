"""The two geometries of the hardware: masks, sizes and large leaves as documented.

Numbers: arch/powerpc/include/asm/book3s/64/{radix-4k.h,radix-64k.h,pgtable.h}.
"""

from __future__ import annotations

from functools import cache

import pytest
from kvm_machine import BASE, R

from mkold.ir import boot
from mkold.ir.edit import fold
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.machine import machine
from mkold.kvm.powerpc.radix import pte
from mkold.kvm.powerpc.radix.pte import RADIX_4K, RADIX_64K
from mkold.mm.mmu_notifier import MMU_NOTIFIER_RANGE_LOCKLESS
from mkold.native import Image, Memory, build

GEOMETRIES = {12: RADIX_4K, 16: RADIX_64K}


def value(parameter: object, geometry: dict[str, int]) -> int:
    """What a symbolic constant is in a build."""
    folded = fold(parameter.expr, geometry)  # type: ignore[attr-defined]
    return folded.value  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("shift", "rpn_mask", "table_bytes"),
    [
        (12, 0x1FFFFFFFFFF000, (4096, 4096, 4096, 65536)),
        (16, 0x1FFFFFFFFF0000, (256, 4096, 4096, 65536)),
    ],
)
def test_masks_and_sizes(shift: int, rpn_mask: int, table_bytes: tuple[int, ...]) -> None:
    geometry = GEOMETRIES[shift]
    assert value(pte.PTE_RPN_MASK, geometry) == rpn_mask
    levels = ("PTE", "PMD", "PUD", "PGD")
    sizes = tuple(8 << geometry[f"RADIX_{level}_INDEX_SIZE"] for level in levels)
    assert sizes == table_bytes
    assert value(pte.PMD_GFN_SHIFT, geometry) + shift == 21
    assert value(pte.PUD_GFN_SHIFT, geometry) + shift == 30
    assert value(pte.PGD_GFN_SHIFT, geometry) + shift == 39
    assert value(pte.MAX_GFN, geometry) << shift == 1 << 52


@cache
def image(shift: int) -> Image:
    return build(
        BASE, {**GEOMETRIES[shift], "SLAB_OBJECTS": 8}, hooks=machine.hooks, optimised=False
    )


@pytest.mark.parametrize("shift", [12, 16])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_leaves_of_every_size(shift: int, level: int) -> None:
    """Age two neighbouring leaves in the upper half of the tree, from an odd start."""
    n_words = 1 << 20
    memory = Memory(n_words)
    kvm, mm, subscriptions, waits = (boot.BOOT_WORDS + i * 8192 for i in range(4))

    def call(name: str, *args: int) -> object:
        return image(shift).call(name, memory, 0, *args)

    call("memblock_init", 1 << 16, n_words)
    call("mmu_notifier_subscriptions_init", mm, subscriptions)
    call("kvm_init")
    assert call("kvm_create_vm", kvm, mm) == 0
    pages = (1, 1 << (21 - shift), 1 << (30 - shift))[level]
    first = (1 << (51 - shift)) + 2 * pages
    assert Kvm.size < 8192
    call("kvm_add_memslot", kvm, first, 2 * pages, 7)
    for gfn in (first, first + pages):
        entry = 3 << 62 | gfn << shift & 0x1FFFFFFFFFFFFF | R
        assert call("kvmppc_create_pte", kvm, gfn, entry, level, 0, 7, waits) == 0
    last = 7 + 2 * pages
    odd = 7 + pages - (pages > 1)
    assert call("mmu_notifier_test_clear_young", mm, odd, last, 1, 0) == (
        MMU_NOTIFIER_RANGE_LOCKLESS
    )
    second_only = pages == 1
    young = call("mmu_notifier_test_clear_young", mm, 7, last, 0, 0)
    assert bool(young) == second_only, "both leaves lie in the range when they are large"
