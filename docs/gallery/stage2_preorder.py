"""KVM on arm64: the stage-2 walker goes down into a table that its own callback has freed.

One thread. The callback of a walk that visits tables before their entries puts a block in
place of the table; nothing keeps the table (the hypervisor has no RCU there).

    mkold check docs/gallery/stage2_preorder.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import READ_ONCE, WRITE_ONCE, KernelFunction, Ptr, cast, kernel, poison, u64

SOURCE = (
    "commit a9f0e3d5a089 "
    '("KVM: arm64: Reload PTE after invoking walker callback on preorder traversal")'
)
SENTENCE = "The walker goes down into tables that are there."

TABLE = 1


@kernel
def stage2_map_walk_table_pre(ptep: Ptr[u64], block: u64) -> None:
    old = READ_ONCE(ptep.value)
    WRITE_ONCE(ptep.value, block)
    if old & TABLE:
        child = cast(Ptr[u64], old & ~TABLE)
        poison(child.value, 1)


@kernel
def walk_down(pte: u64) -> u64:
    if not pte & TABLE:
        return 0
    child = cast(Ptr[u64], pte & ~TABLE)
    return READ_ONCE(child.value)


@kernel
def kvm_pgtable_visit(ptep: Ptr[u64], block: u64) -> u64:
    pte = READ_ONCE(ptep.value)
    if pte & TABLE:
        stage2_map_walk_table_pre(ptep, block)
    return walk_down(READ_ONCE(ptep.value))


@kernel
def kvm_pgtable_visit_stale(ptep: Ptr[u64], block: u64) -> u64:
    pte = READ_ONCE(ptep.value)
    if pte & TABLE:
        stage2_map_walk_table_pre(ptep, block)
    return walk_down(pte)


def one_walk(visit: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        ptep, child = m.words(1, "pte"), m.words(1, "child[0]", value=0x40, align=2)
        m.poke(ptep, child | TABLE)
        m.thread("walker", (visit, ptep, 0x200))

    return Scenario(f"walk-{visit.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("read again", one_walk(kvm_pgtable_visit)),)),
    Claim(
        "bug", SENTENCE, SOURCE, (Case("as read before", one_walk(kvm_pgtable_visit_stale)),)
    ),
]
