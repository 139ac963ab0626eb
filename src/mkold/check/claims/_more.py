"""Scenarios beyond the claims: parts of the system whose every order should be looked at.

They back the mutation tests: tables being published, unlinked and freed under walkers and
under the hardware, the dirty log, unsubscribing a notifier, and stopping the vCPUs.
"""

from __future__ import annotations

from dataclasses import replace

from mkold.check import End, Scenario, Setup
from mkold.check.claims._vm import ACCESSED, DIRTY, HVA, PRESENT, SMALL, Vm, make_vm
from mkold.check.claims.faults import MMU_READY, STALE_TLB, guest_reads, no_memory
from mkold.check.claims.switch import NULL
from mkold.kvm.main import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.powerpc.radix.age import age_run, kvm_arch_test_clear_young
from mkold.kvm.powerpc.radix.create import kvmppc_create_pte
from mkold.kvm.powerpc.radix.dirty import kvmppc_hv_get_dirty_log_radix
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.powerpc.radix.pte import TABLE_MASK, TABLE_SHIFT, pfn_pte
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.switch import kvmhv_configure_mmu
from mkold.kvm.tlb import kvm_flush_tlb_range
from mkold.kvm.types import KVM_PFN_ERR, Kvm, KvmArch, MemorySlot, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, poison, u64
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import (
    MmuNotifier,
    MmuNotifierSubscriptions,
    mmu_notifier_register,
    mmu_notifier_subscriptions_init,
    mmu_notifier_test_clear_young,
    mmu_notifier_unregister,
)
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free

HUGE_PFN = 0x60
FRAME_SHIFT = 3
LEAF_BITS = 0x107
SLOT = Kvm.offset("slots")
PGTABLE = Kvm.offset("arch") + KvmArch.offset("pgtable")


def _leaf(m: Setup, pfn: int) -> int:
    return m.call(pfn_pte, pfn, LEAF_BITS)


def _create(vm: Vm, gfn: int, pte: int, level: int) -> tuple[object, ...]:
    waits = vm.kvm + Kvm.offset("stat")
    return (kvmppc_create_pte, vm.kvm, gfn, pte, level, 0, HVA + gfn, waits)


def walk_and_create(m: Setup) -> None:
    """A walk of an empty tree while the first page is mapped: three tables are published."""
    vm = make_vm(m)
    vm.stock(cpu=1, levels=range(3))
    m.thread("walker", (kvm_arch_test_clear_young, vm.kvm, 0, 1, 1, NULL, 0))
    m.thread("fault", _create(vm, 0, _leaf(m, 0x51), 0))  # type: ignore[arg-type]


def hardware_and_create(m: Setup) -> None:
    """The hardware walks the tree while its first page is mapped."""
    vm = make_vm(m)
    vm.stock(cpu=1, levels=range(3))
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vm.vcpu("vcpu"), 0, 1))
    m.thread("fault", _create(vm, 0, _leaf(m, 0x51), 0))  # type: ignore[arg-type]


def walk_and_collapse(m: Setup) -> None:
    """A table gives way to a huge leaf while a walker may be in it."""
    vm = make_vm(m)
    vm.map(0)
    m.thread("walker", (kvm_arch_test_clear_young, vm.kvm, 0, 1, 1, NULL, 0))
    m.thread("host", _create(vm, 0, _leaf(m, HUGE_PFN), 1))  # type: ignore[arg-type]


def guest_and_collapse(m: Setup) -> None:
    """The same while a guest runs: the hardware takes part in no read section."""
    vm = make_vm(m)
    frame = m.words(1 << FRAME_SHIFT, "frame", value=7, align=1 << FRAME_SHIFT)
    vm.map(0, pfn=frame >> FRAME_SHIFT)
    vcpu = vm.vcpu("vcpu")
    m.poke(vm.kvm + MMU_READY, 1)
    m.thread("guest", (guest_walks, vm.kvm, vcpu, 0))
    m.thread("host", _create(vm, 0, _leaf(m, HUGE_PFN), 1))  # type: ignore[arg-type]


@kernel
def guest_walks(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, let the hardware translate one access, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = mmu_walk_hw(kvm, vcpu, gfn, 0)
    kvm_vcpu_put(vcpu)
    return ok


def _table_of(entry: int) -> int:
    return (entry & TABLE_MASK) >> TABLE_SHIFT


def _next_table(vm: Vm, cpu: int) -> int:
    """The PTE table that ``cpu`` will get when it next asks for one."""
    vm.stock(cpu, levels=range(1))
    cache = vm.kvm + Kvm.offset("caches")
    head = vm.m.call(kmem_cache_alloc, cache, cpu=cpu)
    vm.m.call(kmem_cache_free, cache, head, cpu=cpu)
    return head + SMALL["TABLE_HEADER"]


def two_faults(m: Setup) -> None:
    """Two pages of one missing table are mapped at once."""
    vm = make_vm(m)
    vm.map(2)
    tables = [_next_table(vm, cpu) for cpu in (0, 1)]
    for table in tables:
        for i in (0, 1):
            m.watch(f"{table}.{i}", table + i)
    pud = _table_of(m.peek(m.peek(vm.kvm + PGTABLE)))
    m.watch("pmd", _table_of(m.peek(pud)))
    m.thread("first", _create(vm, 0, _leaf(m, 0x51), 0))  # type: ignore[arg-type]
    m.thread("second", _create(vm, 1, _leaf(m, 0x52), 0))  # type: ignore[arg-type]

    def lost(end: End) -> bool:
        table = _table_of(end["pmd"])
        return not all(end[f"{table}.{i}"] & PRESENT for i in (0, 1))

    m.never("mapping-lost", lost, "A page was mapped, and the tree does not have it.")


@kernel
def fill_and_map(
    frame: Ptr[u64], kvm: Ptr[Kvm], gfn: u64, pte: u64, hva: u64, waits: Ptr[u64]
) -> u64:
    """The host fills a new frame; the fault maps it."""
    frame.value = 7
    return kvmppc_create_pte(kvm, gfn, pte, 0, 0, hva, waits)


def new_frame(m: Setup) -> None:
    """A page is mapped while another vCPU of the guest looks at it."""
    vm = make_vm(m)
    vm.map(1)
    frame = m.raw(1 << FRAME_SHIFT, align=1 << FRAME_SHIFT)
    m.name("frame", frame)
    vcpu = vm.vcpu("vcpu")
    m.poke(vm.kvm + MMU_READY, 1)
    waits = vm.kvm + Kvm.offset("stat")
    pte = _leaf(m, frame >> FRAME_SHIFT)
    m.thread("guest", (guest_reads, vm.kvm, vcpu, 0))
    m.thread("fault", (fill_and_map, frame, vm.kvm, 0, pte, HVA, waits))


# -- the dirty log -----------------------------------------------------------------------


@kernel
def guest_writes(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, write 1 to a page through whatever the TLB says, leave."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 1)
    if pfn >= KVM_PFN_ERR:
        return 0
    WRITE_ONCE(cast(Ptr[u64], pfn << FRAME_SHIFT).value, 1)
    kvm_vcpu_put(vcpu)
    return 1


@kernel
def harvest_and_copy(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64], frame: Ptr[u64]
) -> u64:
    """What live migration does: fetch the dirty log, then copy the page."""
    kvmppc_hv_get_dirty_log_radix(kvm, slot, log)
    return READ_ONCE(frame.value)


def write_and_harvest(m: Setup) -> None:
    vm = make_vm(m)
    frame = m.words(1 << FRAME_SHIFT, "frame", align=1 << FRAME_SHIFT)
    vm.map(0, pfn=frame >> FRAME_SHIFT)
    slot, bitmap = vm.kvm + SLOT, m.words(1, "dirty_bitmap")
    m.poke(slot + MemorySlot.offset("npages"), 1)
    m.poke(slot + MemorySlot.offset("dirty_bitmap"), bitmap)
    vcpu = vm.vcpu("vcpu")
    m.call(mmu_walk_hw, vm.kvm, vcpu, 0, 1)  # dirty, and the TLB knows it
    m.poke(vm.kvm + MMU_READY, 1)
    vm.watch(0)
    m.watch("frame0", frame)
    m.watch("dirty", bitmap)
    log = m.words(1, "log")
    m.watch("log", log)
    m.thread("guest", (guest_writes, vm.kvm, vcpu, 0))
    m.thread("migration", (harvest_and_copy, vm.kvm, slot, log, frame))
    m.never(
        "dirty-not-reported",
        lambda end: not end["log"] & 1,
        "The page was dirty, and the log that was fetched does not say so.",
    )

    def lost(end: End) -> bool:
        old_copy = end["frame0"] == 1 and end.result("migration") == 0
        return old_copy and not end["pte0"] & DIRTY and not end["dirty"] & 1

    m.never(
        "write-not-migrated",
        lost,
        "The guest wrote after the page was copied, and nothing says so.",
    )
    m.never(
        "accessed-lost",
        lambda end: not end["pte0"] & ACCESSED,
        "Harvesting the dirty bit cleared the accessed bit.",
    )


def unmap_and_harvest(m: Setup) -> None:
    """The log is fetched while a dirty page is unmapped, which logs it."""
    vm = make_vm(m)
    vm.map(0, write=False)
    vm.map(1)
    slot, bitmap, log = vm.kvm + SLOT, m.words(1, "dirty_bitmap"), m.words(1, "log")
    m.poke(bitmap, 1)  # page 0 was logged earlier
    m.poke(slot + MemorySlot.offset("npages"), 2)
    m.poke(slot + MemorySlot.offset("dirty_bitmap"), bitmap)
    m.watch("dirty", bitmap)
    m.watch("log", log)
    m.thread("unmap", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA + 1, HVA + 2))
    m.thread("migration", (kvmppc_hv_get_dirty_log_radix, vm.kvm, slot, log))
    m.never(
        "dirty-lost",
        lambda end: (end["log"] | end["dirty"]) & 3 != 3,
        "A page was dirty, and neither what was fetched nor the log says so.",
    )


# -- the guest's last write -------------------------------------------------------------


@kernel
def guest_writes_and_stays(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Enter the guest, write to a page, touch it once more."""
    if kvm_vcpu_load(kvm, vcpu):
        return 0
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 1)
    if pfn >= KVM_PFN_ERR:
        return 0
    WRITE_ONCE(cast(Ptr[u64], pfn << FRAME_SHIFT).value, 1)
    if kvm_vcpu_access(kvm, vcpu, gfn, 1) < KVM_PFN_ERR:
        kvm_vcpu_put(vcpu)
    return 1


@kernel
def swap_out(kvm: Ptr[Kvm], hva: u64, frame: Ptr[u64]) -> u64:
    """The host takes the page away and saves it."""
    kvm_mmu_notifier_invalidate_range_start(addr(kvm.notifier), hva, hva + 1)
    return READ_ONCE(frame.value)


def write_and_swap_out(m: Setup) -> None:
    vm = make_vm(m)
    frame = m.words(1 << FRAME_SHIFT, "frame", align=1 << FRAME_SHIFT)
    vm.map(0, pfn=frame >> FRAME_SHIFT)
    vcpu = vm.vcpu("vcpu")
    m.call(mmu_walk_hw, vm.kvm, vcpu, 0, 1)
    m.poke(vm.kvm + MMU_READY, 1)
    m.watch("frame0", frame)
    m.thread("guest", (guest_writes_and_stays, vm.kvm, vcpu, 0))
    m.thread("host", (swap_out, vm.kvm, HVA, frame))
    m.never(
        "write-not-saved",
        lambda end: end["frame0"] == 1 and end.result("host") == 0,
        "The guest wrote to the page, and what was saved is from before.",
    )


# -- unsubscribing -------------------------------------------------------------------------


@kernel
def look_at_vm(
    notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    """Stands for the callback: it touches the VM."""
    return READ_ONCE(cast(Ptr[Kvm], notifier).n_slots)


@kernel
def subscribe(kvm: Ptr[Kvm], notifier: Ptr[MmuNotifier], mm: Ptr[Mm]) -> None:
    """A new VM: written, then subscribed."""
    kvm.n_slots = 1
    mmu_notifier_register(notifier, mm)


@kernel
def unsubscribe_and_free(kvm: Ptr[Kvm], notifier: Ptr[MmuNotifier], mm: Ptr[Mm]) -> None:
    """The VM goes: unsubscribed, then freed."""
    mmu_notifier_unregister(notifier, mm)
    poison(kvm.notifier.next, 1)
    poison(kvm.n_slots, 1)


def _mm(m: Setup) -> tuple[int, int]:
    mm, kvm = m.new(Mm, "mm"), m.new(Kvm, "kvm")
    m.call(mmu_notifier_subscriptions_init, mm, m.new(MmuNotifierSubscriptions, "subs"))
    return mm, kvm


def walk_and_unsubscribe(m: Setup) -> None:
    mm, kvm = _mm(m)
    m.call(subscribe, kvm, kvm, mm)
    m.thread("aging", (mmu_notifier_test_clear_young, mm, 0, 1, 1, NULL))
    m.thread("destroy", (unsubscribe_and_free, kvm, kvm, mm))


def walk_and_subscribe(m: Setup) -> None:
    mm, kvm = _mm(m)
    m.poke(kvm, FRESH)  # as it comes from the allocator
    m.poke(kvm + Kvm.offset("n_slots"), FRESH)
    m.thread("aging", (mmu_notifier_test_clear_young, mm, 0, 1, 1, NULL))
    m.thread("create", (subscribe, kvm, kvm, mm))


FRESH = 0x6B6B6B6B6B6B6B6B

# -- stopping the vCPUs ------------------------------------------------------------------


def guest_and_leave_radix(m: Setup) -> None:
    """A running VM is switched to HPT: its vCPUs are stopped before the tree is freed."""
    vm = make_vm(m)
    frame = m.words(1 << FRAME_SHIFT, "frame", value=7, align=1 << FRAME_SHIFT)
    vm.map(0, pfn=frame >> FRAME_SHIFT)
    vcpu = vm.vcpu("vcpu")
    m.poke(vm.kvm + MMU_READY, 1)
    m.poke(vm.kvm + Kvm.offset("stop"), 1)  # whoever finds it not ready gives up
    m.thread("guest", (guest_walks, vm.kvm, vcpu, 0))
    m.thread("switch", (kvmhv_configure_mmu, vm.kvm, 0))


# -- the range ---------------------------------------------------------------------------


def part_of_a_table(m: Setup) -> None:
    """Pages 0 to 3 are young; pages 1 and 2, of two tables, are asked for."""
    vm = make_vm(m)
    for gfn in range(4):
        vm.map(gfn)
        vm.watch(gfn)
    m.thread("ager", (kvm_arch_test_clear_young, vm.kvm, 1, 3, 1, NULL, 0))
    m.never(
        "outside-cleared",
        lambda end: not (end["pte0"] & ACCESSED and end["pte3"] & ACCESSED),
        "The accessed bit of a page outside the range was cleared.",
    )
    m.never(
        "inside-missed",
        lambda end: (
            bool((end["pte1"] | end["pte2"]) & ACCESSED) or end.result("ager", 0, 1) != 2
        ),
        "A young page of the range was missed.",
    )


# -- faults that are no edit of a primitive: a function that stands in the place of another


@kernel
def flush_then_clear(kvm: Ptr[Kvm], ptep: Ptr[u64], gfn: u64, level: u64) -> None:
    """``kvmppc_unmap_pte`` in the wrong order."""
    kvm_flush_tlb_range(kvm, gfn, 1)
    kvmppc_radix_update_pte(ptep, ~0, 0)


@kernel
def age_one_more(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_table``, one entry too far."""
    return age_run(ptep, n + 1, clear, bitmap, bit)


@kernel
def age_one_less(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_table``, one entry short."""
    return age_run(ptep, n - 1, clear, bitmap, bit)


RANGE = Scenario("part-of-a-table", part_of_a_table, SMALL)
ONE_MORE = replace(RANGE, name="one-more", stand_ins={"age_table": age_one_more})
ONE_LESS = replace(RANGE, name="one-less", stand_ins={"age_table": age_one_less})
FLUSH_FIRST = replace(
    STALE_TLB,
    name="stale-tlb-flush-first",
    stand_ins={**STALE_TLB.stand_ins, "kvmppc_unmap_pte": flush_then_clear},
)

GIVES_UP = {"kvmppc_book3s_radix_page_fault": no_memory}
CREATE = Scenario("walk-vs-create", walk_and_create, SMALL)
HW_CREATE = Scenario("hardware-vs-create", hardware_and_create, SMALL)
COLLAPSE = Scenario("walk-vs-collapse", walk_and_collapse, SMALL)
GUEST_COLLAPSE = Scenario("guest-vs-collapse", guest_and_collapse, SMALL)
TWO_FAULTS = Scenario("two-faults", two_faults, SMALL)
DIRTY_LOG = Scenario("guest-vs-dirty-log", write_and_harvest, SMALL, stand_ins=GIVES_UP)
CALLBACK = {"kvm_mmu_notifier_test_clear_young": look_at_vm}
UNSUBSCRIBE = Scenario("aging-vs-unsubscribe", walk_and_unsubscribe, SMALL, stand_ins=CALLBACK)
SUBSCRIBE = Scenario("aging-vs-subscribe", walk_and_subscribe, SMALL, stand_ins=CALLBACK)
STOP = Scenario("guest-vs-configure-mmu", guest_and_leave_radix, SMALL)

NEW_FRAME = Scenario("guest-vs-new-frame", new_frame, SMALL, stand_ins=GIVES_UP)
HARVEST = Scenario("unmap-vs-dirty-log", unmap_and_harvest, SMALL)
SWAP_OUT = Scenario("guest-vs-swap-out", write_and_swap_out, SMALL, stand_ins=GIVES_UP)
