"""khugepaged takes a page table away while a fault that has found it waits for its lock.

The page-table lock lies outside the table (in the kernel: in its ``struct page``).

    mkold check docs/gallery/retract_page_tables.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    call_rcu,
    cast,
    kernel,
    poison,
    rcu_read_lock,
    rcu_read_unlock,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = 'commit 8d3c106e19e8 ("mm/khugepaged: take the right locks for page table retraction")'
SENTENCE = "A fault writes to page tables that are there."


class Mm(Struct):
    pmd: Ptr[u64]
    ptl: spinlock_t


@kernel
def pte_free(table: u64) -> None:
    poison(cast(Ptr[u64], table).value, 1)


@kernel
def retract_page_tables(mm: Ptr[Mm]) -> None:
    spin_lock(mm.ptl)
    table = READ_ONCE(mm.pmd)
    WRITE_ONCE(mm.pmd, NULL)
    spin_unlock(mm.ptl)
    call_rcu(pte_free, table)


@kernel
def retract_without_lock(mm: Ptr[Mm]) -> None:
    table = READ_ONCE(mm.pmd)
    WRITE_ONCE(mm.pmd, NULL)
    pte_free(table)


@kernel
def handle_pte_fault(mm: Ptr[Mm]) -> None:
    rcu_read_lock()
    table = READ_ONCE(mm.pmd)
    if table:
        spin_lock(mm.ptl)
        same = READ_ONCE(mm.pmd) == table  # pmd_same()
        if same and not READ_ONCE(table.value):
            WRITE_ONCE(table.value, 5)
        spin_unlock(mm.ptl)
    rcu_read_unlock()


def fault_and(retract: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        mm, table = m.new(Mm, "mm"), m.words(1, "table[0]")
        m.poke(mm, table)
        m.thread("fault", (handle_pte_fault, mm))
        m.thread("khugepaged", (retract, mm))

    return Scenario(f"fault-{retract.name.replace('_', '-')}", setup)


SCENARIO = fault_and(retract_page_tables)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("under the lock, freed by RCU", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (Case("without the lock, freed at once", fault_and(retract_without_lock)),),
    ),
]
