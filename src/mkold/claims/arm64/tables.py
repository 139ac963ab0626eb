"""Tables under walkers that hold nothing but an RCU read section: claims 110 to 113."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, Scenario, Set, Setup, Skip, Swap
from mkold.claims.arm64.small_vm import ALL_SHARE, FREES, SMALL, V3, VCPU_STORE, make_vm
from mkold.ir.nodes import POISON_INUSE
from mkold.kvm.arm64.asm.kvm_host import Kvm, KvmMmuMemoryCache, Vcpu
from mkold.kvm.arm64.pgtable.map import kvm_pgtable_stage2_map
from mkold.kvm.arm64.pgtable.pte import stage2_set_prot_attr
from mkold.kvm.arm64.pgtable.unmap import DESTROY_WAITS, kvm_pgtable_stage2_destroy
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.lang import Ptr, addr, cast, kernel, u64

V2_4 = (
    'Zhao, "KVM: arm64: make stage2 page tables RCU safe", lore '
    "20230526234435.662652-5-yuzhao@google.com"
)
SAFE_BY_READ = (
    "Houghton and Upton on arm64 aging under the read lock, lore "
    "20240529180510.2295118-1-jthoughton@google.com"
)
PGTABLE = "arch/arm64/kvm/hyp/pgtable.c"

# -- claim 110: unmapping empties a table ----------------------------------------------------


def age_and_unmap(m: Setup) -> None:
    """Page 0 is alone in its table; page 2 keeps the root busy."""
    vm = make_vm(m)
    vm.map(0)
    vm.map(2)
    m.thread("ager", vm.age())
    m.thread("host", vm.unmap())


def age_locked_and_unmap(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.map(2)
    m.thread("ager", vm.age_locked())
    m.thread("host", vm.unmap())


V2_PARAMS = {**SMALL, "AGE_MODE": 0, "UNMAP_FREE": 0}
V3_PARAMS = {**SMALL, **V3}
UNMAP = Scenario("age-vs-unmapped-table", age_and_unmap, V2_PARAMS)
UNMAP_V3 = Scenario("age-under-read-lock-vs-unmapped-table", age_and_unmap, V3_PARAMS)
UNMAP_LOCKED = Scenario(
    "age-under-write-lock-vs-unmapped-table", age_locked_and_unmap, {**SMALL, "UNMAP_FREE": 1}
)
NO_READ_LOCK = (Skip("kvm_mmu_read_lock"), Skip("kvm_mmu_read_unlock"))
NO_READ_SECTION = (Drop("age_by_rcu:rcu_read_lock"), Drop("age_by_rcu:rcu_read_unlock"))
AT_ONCE = (Set("UNMAP_FREE", 1),)

# -- claim 111: a block takes a table's place ------------------------------------------------


def age_and_collapse(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vcpu = vm.vcpu("vcpu", stock=0)
    m.watch("root0", vm.root())
    m.thread("ager", vm.age())
    m.thread("fault", vm.maps(vcpu, 0, 2, 0x60))
    m.never(
        "not-a-block",
        lambda end: end["root0"] >> 12 != 0x60,
        "The block that the fault made is not there.",
    )


COLLAPSE = Scenario("age-vs-collapse", age_and_collapse, V2_PARAMS, stand_ins=FREES | ALL_SHARE)
COLLAPSE_V3 = Scenario(
    "age-under-read-lock-vs-collapse", age_and_collapse, V3_PARAMS, stand_ins=FREES
)

# -- claim 112: the whole tree ---------------------------------------------------------------


@kernel
def flush_shadow_all(kvm: Ptr[Kvm]) -> None:
    """As upstream: the tree goes when the address space does, under ``mmu_lock``, where nothing
    may sleep."""
    if not DESTROY_WAITS:
        kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_pgtable_stage2_destroy(kvm)
    if not DESTROY_WAITS:
        kvm_mmu_unlock(kvm)


def age_and_flush_all(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    m.thread("ager", vm.age())
    m.thread("exit", (flush_shadow_all, vm.kvm))


FLUSH_ALL = Scenario("age-vs-flush-shadow-all", age_and_flush_all, V2_PARAMS)
FLUSH_ALL_V3 = Scenario("age-under-read-lock-vs-flush-shadow-all", age_and_flush_all, V3_PARAMS)
FREED = frozenset({"use-after-free", "write-after-free"})

# -- claim 113: a new table ------------------------------------------------------------------


@kernel
def zero_store(vcpu: Ptr[Vcpu]) -> None:
    """What ``kvm_mmu_topup_memory_cache`` does to the table that it takes."""
    store = cast(Ptr[KvmMmuMemoryCache], addr(vcpu.arch.mmu_page_cache))
    table = cast(Ptr[u64], store.objects[0])
    table[0] = 0
    table[1] = 0


def age_and_new_table(m: Setup) -> None:
    """A fault takes a table that nobody has written yet, and maps page 0 through it."""
    vm = make_vm(m)
    vm.map(2)
    vcpu = vm.vcpu("vcpu")
    table = m.peek(vcpu + VCPU_STORE + KvmMmuMemoryCache.offset("objects"))
    m.poke(table, POISON_INUSE)
    m.poke(table + 1, POISON_INUSE)
    m.thread("ager", vm.age(0, 2))
    m.thread("fault", (zero_store, vcpu), vm.maps(vcpu, 0))


@kernel
def maps_alone(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, pfn: u64) -> u64:
    """As ``kvm_phys_addr_ioremap``: map a page with ``mmu_lock`` held for writing."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    mc = addr(vcpu.arch.mmu_page_cache)
    data = addr(kvm.arch.mmu.walk)
    ret = kvm_pgtable_stage2_map(kvm, data, gfn, 1, pfn, stage2_set_prot_attr(1), mc, 0)
    kvm_mmu_unlock(kvm)
    return ret


def age_and_new_table_alone(m: Setup) -> None:
    """The same by a walk that is alone."""
    vm = make_vm(m)
    vm.map(2)
    vcpu = vm.vcpu("vcpu")
    table = m.peek(vcpu + VCPU_STORE + KvmMmuMemoryCache.offset("objects"))
    m.poke(table, POISON_INUSE)
    m.poke(table + 1, POISON_INUSE)
    m.thread("ager", vm.age(0, 2))
    m.thread("ioremap", (zero_store, vcpu), (maps_alone, vm.kvm, vcpu, 0, 0x50))


NEW_ALONE = Scenario("age-vs-new-table-alone", age_and_new_table_alone, V2_PARAMS)
NEW_TABLE = Scenario("age-vs-new-table", age_and_new_table, V2_PARAMS)
MAKE = "stage2_make_pte:smp_store_release"

CLAIMS = [
    Claim(
        "110-unmapped-tables-by-rcu",
        "For an ager that holds nothing but an RCU read section, a table that unmapping "
        "emptied "
        "must be freed by RCU; under mmu_lock for reading it may be freed at once.",
        f"{V2_4}; {SAFE_BY_READ}",
        (
            Case("second version: RCU, freed by RCU", UNMAP),
            Case("third version: read lock, freed at once", UNMAP_V3),
            Case("upstream: write lock, freed at once", UNMAP_LOCKED),
            Case("RCU, freed at once", UNMAP, AT_ONCE, decides=False),
            Case("no read section, freed by RCU", UNMAP, NO_READ_SECTION, decides=False),
            Case(
                "third version without the lock, freed at once",
                UNMAP_V3,
                NO_READ_LOCK,
                decides=False,
            ),
        ),
    ),
    Claim(
        "111-collapsed-tables-by-rcu",
        "Putting a block in the place of a table was safe for lockless walkers already, "
        "and the "
        "read lock alone is not: a sibling's fault, with the lock for reading too, may do "
        "it.",
        f"{V2_4} (the remap path); {PGTABLE}, commit c3119ae45dfb",
        (
            Case("RCU", COLLAPSE),
            Case("read lock and RCU", COLLAPSE_V3),
            Case(
                "read lock, no read section",
                COLLAPSE_V3,
                NO_READ_SECTION,
                decides=False,
                heavy=True,
            ),
            Case(
                "RCU, the table freed at once",
                COLLAPSE,
                (Set("COLLAPSE_FREES_AT_ONCE", 1),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "112-root-freed-with-the-vm",
        "Freeing the tree when the address space goes (flush_shadow_all), as upstream does, is "
        "not safe for an ager that holds nothing but an RCU read section.",
        f"{V2_4} (the whole tree is freed with the VM there)",
        (
            Case("RCU", FLUSH_ALL, only=FREED),
            Case("read lock", FLUSH_ALL_V3, decides=False),
            Case(
                "RCU, a grace period once the root is gone",
                FLUSH_ALL,
                (Set("DESTROY_WAITS", 1),),
                decides=False,
            ),
        ),
        asks="possible",
    ),
    Claim(
        "113-new-table-published",
        "A new table's content is visible to whoever finds its entry, as the entry is "
        "written by "
        "a release store.",
        f"{PGTABLE} (stage2_make_pte)",
        (
            Case("a fault, with the lock for reading", NEW_TABLE),
            Case("a walk that is alone", NEW_ALONE),
            Case("a fault, no release", NEW_TABLE, (Swap(MAKE, "WRITE_ONCE"),), decides=False),
            Case("a fault, a plain store", NEW_TABLE, (Swap(MAKE, "store"),), decides=False),
            Case("alone, no release", NEW_ALONE, (Swap(MAKE, "WRITE_ONCE"),), decides=False),
        ),
    ),
]
