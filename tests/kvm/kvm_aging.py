"""Properties of aging with the guest stopped, each a function of the built system.

The tests of the right system ask them of it, the tests of seeded faults of wrong ones.
"""

from __future__ import annotations

from kvm_machine import N_GFNS, C, Leaf, Machine, R, Tree, W, built, filled

from mkold.mm.mmu_notifier import MMU_NOTIFIER_RANGE_LOCKLESS, MMU_NOTIFIER_RANGE_YOUNG
from mkold.native import Image

Layout = list[Leaf]
Range = list[int]


def put_bitmap(machine: Machine, bits: int | None) -> int:
    """A bitmap in memory; 0 (NULL) for none."""
    if bits is None:
        return 0
    at = machine.new(N_GFNS // 64)
    for i in range(N_GFNS // 64):
        machine.words[at + i] = bits >> (64 * i) & ((1 << 64) - 1)
    return at


def get_bitmap(machine: Machine, at: int) -> int:
    return sum(int(machine.words[at + i]) << (64 * i) for i in range(N_GFNS // 64))


def pages_to_bits(pages: list[range], end: int) -> int:
    """The reversed bitmap of ``pages`` in a range that ends with ``end``."""
    bits = 0
    for page in (page for part in pages for page in part):
        bits |= 1 << (end - page - 1)
    return bits


def tree_is_as_created(image: Image, layout: Layout) -> None:
    machine = filled(Machine(image), layout)
    wanted = Tree(layout).entries
    state = machine.state()
    assert state.keys() == wanted.keys()
    for (level, gfn), bits in wanted.items():
        entry = state[level, gfn]
        assert entry & (R | C | W) == bits
        assert entry >> 12 & 0xFFFF == 64 + gfn


def reports_what_was_touched(
    image: Image, layout: Layout, span: Range, bits: int | None
) -> None:
    start, end = span
    machine = filled(Machine(image), layout)
    bitmap = put_bitmap(machine, 0 if bits is not None else None)
    young = Tree(layout).young(start, end)
    before = machine.snapshot()
    flags = machine.young(start, end, 0, bitmap)
    assert flags == (MMU_NOTIFIER_RANGE_LOCKLESS if young else 0)
    if bitmap:
        assert get_bitmap(machine, bitmap) == pages_to_bits(list(young.values()), end)
        before[bitmap : bitmap + N_GFNS // 64] = machine.words[bitmap : bitmap + N_GFNS // 64]
    assert (machine.snapshot() == before).all(), "a test changed memory"


def clears_what_was_asked(image: Image, layout: Layout, span: Range, bits: int | None) -> None:
    start, end = span
    machine = filled(Machine(image), layout)
    bitmap = put_bitmap(machine, bits)
    young = Tree(layout).young(start, end)
    wanted = {
        key
        for key, pages in young.items()
        if bits is None or bits & pages_to_bits([pages], end)
    }
    addresses = machine.leaves()
    before = machine.snapshot()
    flags = machine.young(start, end, 1, bitmap)
    assert flags == (MMU_NOTIFIER_RANGE_LOCKLESS if young else 0)
    for key in wanted:
        before[addresses[key]] ^= R
    changed = (machine.snapshot() != before).nonzero()[0]
    assert not len(changed), f"words {changed} are not as they should be"


def locked_and_lockless_agree(image: Image, layout: Layout, span: Range, clear: int) -> None:
    start, end = span
    fast = filled(Machine(image), layout)
    slow = filled(Machine(built(CPU_FTR_HVMODE=0)), layout)
    flags = fast.young(start, end, clear), slow.young(start, end, clear)
    assert flags in ((0, 0), (MMU_NOTIFIER_RANGE_LOCKLESS, MMU_NOTIFIER_RANGE_YOUNG))
    assert fast.state() == slow.state()
