"""The walk: entries of a range in order, each handed to a visitor before and after its
children.

Rules (``kvm_pgtable_walk``)
----------------------------
* An entry is read once. ``TABLE_PRE`` visits a table's before its children, ``TABLE_POST``
  after, ``LEAF`` everything else, entries that are not valid among it.
* After a visit the entry is read again: the visitor may have put a table there, which the walk
  goes down, or a block, which ends it here.
* ``SHARED``: others may change the tables at the same time, who hold ``mmu_lock`` for reading
  as this walk does, or nothing. Entries are changed by compare-and-swap, and the walk is an RCU
  read section. Otherwise ``mmu_lock`` is held for writing, or nobody knows the tree.
* A visitor that loses a race says EAGAIN. ``HANDLE_FAULT`` ends the walk by it, the vCPU tries
  again; any other walk goes on.

The order from reading an entry to reading the table below is the address dependency; it pairs
with the release store that publishes the table (``update.stage2_make_pte``). On hardware the
walker is an observer of its own, which sees a new entry for sure only after a DSB; LKMM has no
word for that. Here it is a CPU that reads: it may see an entry late, as hardware without the
DSB may, and never one whose table it can't see yet, given the release. So the DSBs are not
modelled, and no claim rests on one.

The kernel's walk is one recursive function; here each level has its own, as kernel Python has
no recursion. ``stage2_walk_to_table`` is the walk of those who visit nothing on the way: the
hardware and the ager.

Source: arch/arm64/kvm/hyp/pgtable.c (``__kvm_pgtable_visit``), kvm_pgtable.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mkold.kvm.arm64.asm.kvm_host import Kvm, WalkData
from mkold.kvm.arm64.pgtable.geometry import (
    GFN_BITS,
    stage2_start_level,
    table_index,
    walk_boundary,
)
from mkold.kvm.arm64.pgtable.pte import kvm_init_table_pte, kvm_pte_follow, kvm_pte_table
from mkold.lang import (
    NULL,
    READ_ONCE,
    Fn,
    Ptr,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

KVM_PGTABLE_WALK_LEAF = 1
KVM_PGTABLE_WALK_TABLE_PRE = 2
KVM_PGTABLE_WALK_TABLE_POST = 4
KVM_PGTABLE_WALK_SHARED = 8
KVM_PGTABLE_WALK_HANDLE_FAULT = 16
VISITS = 7

E2BIG = 7
EAGAIN = 11
ENOMEM = 12
EINVAL = 22
ERANGE = 34

# 0 leaves out the second reading of an entry, as before commit a9f0e3d5a089.
RELOAD_AFTER_VISIT = parameter("RELOAD_AFTER_VISIT", 1)

# visit(kvm, ptep, old, level, gfn, flags, data): ``flags`` with the one visit that this is.
if TYPE_CHECKING:
    Visitor = Any
else:
    Visitor = Fn[[Ptr[Kvm], Ptr[u64], u64, u64, u64, u64, Ptr[WalkData]], u64]


@kernel
def kvm_pgtable_walk_continue(ret: u64, flags: u64) -> u64:
    """Whether the walk goes on after a visit that returned ``ret``."""
    if ret == EAGAIN:
        return (flags & KVM_PGTABLE_WALK_HANDLE_FAULT) == 0
    return ret == 0


@kernel
def visit_before(
    kvm: Ptr[Kvm], ptep: Ptr[u64], level: u64, gfn: u64, flags: u64, visit: Visitor,
    data: Ptr[WalkData],
) -> tuple[u64, Ptr[u64]]:  # fmt: skip
    """Visit an entry above level 3 before its children; the result, and the table to go down,
    or NULL."""
    old = READ_ONCE(ptep.value)
    kind: u64 = KVM_PGTABLE_WALK_LEAF
    if kvm_pte_table(old, level):
        kind = KVM_PGTABLE_WALK_TABLE_PRE
    ret: u64 = 0
    if flags & kind:
        ret = visit(kvm, ptep, old, level, gfn, (flags & ~VISITS) | kind, data)
        if RELOAD_AFTER_VISIT:
            old = READ_ONCE(ptep.value)
    if not kvm_pgtable_walk_continue(ret, flags) or not kvm_pte_table(old, level):
        return ret, NULL
    return ret, kvm_pte_follow(old)


@kernel
def visit_after(
    kvm: Ptr[Kvm], ptep: Ptr[u64], table: Ptr[u64], level: u64, gfn: u64, ret: u64, flags: u64,
    visit: Visitor, data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Visit a table's entry after its children, whose walk returned ``ret``."""
    if flags & KVM_PGTABLE_WALK_TABLE_POST and kvm_pgtable_walk_continue(ret, flags):
        kind = (flags & ~VISITS) | KVM_PGTABLE_WALK_TABLE_POST
        return visit(kvm, ptep, kvm_init_table_pte(table), level, gfn, kind, data)
    return ret


@kernel
def walk_level_3(
    kvm: Ptr[Kvm], table: Ptr[u64], gfn: u64, end: u64, flags: u64, visit: Visitor,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Walk pages ``[gfn, end)`` of one table at level 3."""
    kind = (flags & ~VISITS) | KVM_PGTABLE_WALK_LEAF
    while gfn < end and (flags & KVM_PGTABLE_WALK_LEAF):
        ptep = table + table_index(gfn, 3)
        ret = visit(kvm, ptep, READ_ONCE(ptep.value), 3, gfn, kind, data)
        if not kvm_pgtable_walk_continue(ret, flags):
            return ret
        gfn += 1
    return 0


@kernel
def walk_level_2(
    kvm: Ptr[Kvm], table: Ptr[u64], gfn: u64, end: u64, flags: u64, visit: Visitor,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The same of a table at level 2."""
    while gfn < end:
        after = min(walk_boundary(gfn, 2), end)
        ptep = table + table_index(gfn, 2)
        ret, child = visit_before(kvm, ptep, 2, gfn, flags, visit, data)
        if child != NULL:
            ret = walk_level_3(kvm, child, gfn, after, flags, visit, data)
            ret = visit_after(kvm, ptep, child, 2, gfn, ret, flags, visit, data)
        if not kvm_pgtable_walk_continue(ret, flags):
            return ret
        gfn = after
    return 0


@kernel
def walk_level_1(
    kvm: Ptr[Kvm], table: Ptr[u64], gfn: u64, end: u64, flags: u64, visit: Visitor,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The same of a table at level 1."""
    while gfn < end:
        after = min(walk_boundary(gfn, 1), end)
        ptep = table + table_index(gfn, 1)
        ret, child = visit_before(kvm, ptep, 1, gfn, flags, visit, data)
        if child != NULL:
            ret = walk_level_2(kvm, child, gfn, after, flags, visit, data)
            ret = visit_after(kvm, ptep, child, 1, gfn, ret, flags, visit, data)
        if not kvm_pgtable_walk_continue(ret, flags):
            return ret
        gfn = after
    return 0


@kernel
def walk_level_0(
    kvm: Ptr[Kvm], table: Ptr[u64], gfn: u64, end: u64, flags: u64, visit: Visitor,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The same of a table at level 0."""
    while gfn < end:
        after = min(walk_boundary(gfn, 0), end)
        ptep = table + table_index(gfn, 0)
        ret, child = visit_before(kvm, ptep, 0, gfn, flags, visit, data)
        if child != NULL:
            ret = walk_level_1(kvm, child, gfn, after, flags, visit, data)
            ret = visit_after(kvm, ptep, child, 0, gfn, ret, flags, visit, data)
        if not kvm_pgtable_walk_continue(ret, flags):
            return ret
        gfn = after
    return 0


@kernel
def walk_level(
    kvm: Ptr[Kvm], table: Ptr[u64], level: u64, gfn: u64, end: u64, flags: u64, visit: Visitor,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Walk pages ``[gfn, end)`` of one table at ``level``."""
    if level == 3:
        return walk_level_3(kvm, table, gfn, end, flags, visit, data)
    if level == 2 or stage2_start_level() == 2:
        return walk_level_2(kvm, table, gfn, end, flags, visit, data)
    if level == 1 or stage2_start_level() == 1:
        return walk_level_1(kvm, table, gfn, end, flags, visit, data)
    return walk_level_0(kvm, table, gfn, end, flags, visit, data)


@kernel
def kvm_pgtable_walk(
    kvm: Ptr[Kvm], gfn: u64, end: u64, flags: u64, visit: Visitor, data: Ptr[WalkData]
) -> u64:
    """Walk pages ``[gfn, end)`` of the VM's tables.

    Returns
    -------
    0, or what ended the walk: ERANGE beyond the tables, EINVAL without a root
    """
    if gfn >= end or end > 1 << GFN_BITS:
        return ERANGE
    pgd = READ_ONCE(kvm.arch.mmu.pgd)
    if pgd == NULL:
        return EINVAL
    if flags & KVM_PGTABLE_WALK_SHARED:
        rcu_read_lock()
    ret = walk_level(kvm, pgd, stage2_start_level(), gfn, end, flags, visit, data)
    if flags & KVM_PGTABLE_WALK_SHARED:
        rcu_read_unlock()
    if kvm_pgtable_walk_continue(ret, flags):
        return 0
    return ret


@kernel
def stage2_walk_to_table(pgd: Ptr[u64], gfn: u64) -> tuple[Ptr[u64], u64, u64]:
    """Go down to the entry of ``gfn``, but do not read one at level 3.

    Returns
    -------
    ptep : the entry where the way ends
    entry : its value, if that is above level 3, else 0
    level : 0 to 3
    """
    table = pgd
    if stage2_start_level() == 0:
        entry = READ_ONCE(table[table_index(gfn, 0)])
        if not kvm_pte_table(entry, 0):
            return table + table_index(gfn, 0), entry, 0
        table = kvm_pte_follow(entry)
    if stage2_start_level() <= 1:
        entry = READ_ONCE(table[table_index(gfn, 1)])
        if not kvm_pte_table(entry, 1):
            return table + table_index(gfn, 1), entry, 1
        table = kvm_pte_follow(entry)
    entry = READ_ONCE(table[table_index(gfn, 2)])
    if not kvm_pte_table(entry, 2):
        return table + table_index(gfn, 2), entry, 2
    return kvm_pte_follow(entry) + table_index(gfn, 3), 0, 3


@kernel
def stage2_lookup(pgd: Ptr[u64], gfn: u64) -> tuple[Ptr[u64], u64, u64]:
    """As ``stage2_walk_to_table``, and read an entry at level 3 too."""
    ptep, entry, level = stage2_walk_to_table(pgd, gfn)
    if level == 3:
        entry = READ_ONCE(ptep.value)
    return ptep, entry, level
