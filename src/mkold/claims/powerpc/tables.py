"""Tables and frames that come and go, under walkers and guests: claims 16 and 17."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Setup
from mkold.claims.generic.guest import FRAME_SHIFT, guest_reads, guest_writes_and_stays
from mkold.claims.powerpc.guest import GIVES_UP, guest_walks, mapped_frame, running_vcpu
from mkold.claims.powerpc.small_vm import CACHES, HVA, PGTABLE, PRESENT, SMALL, Vm, make_vm
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.create import kvmppc_create_pte
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.powerpc.radix.pte import TABLE_MASK, TABLE_SHIFT
from mkold.lang import READ_ONCE, Ptr, addr, kernel, u64
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free

RADIX = "arch/powerpc/kvm/book3s_64_mmu_radix.c"
HUGE_PFN = 0x60

# -- published ---------------------------------------------------------------------------


def walk_and_create(m: Setup) -> None:
    """A walk of an empty tree while the first page is mapped: three tables are published."""
    vm = make_vm(m)
    vm.stock(cpu=1, levels=range(3))
    m.thread("walker", vm.age())
    m.thread("fault", vm.sets(0, vm.leaf(0x51)))


def hardware_and_create(m: Setup) -> None:
    """The hardware walks the tree while its first page is mapped."""
    vm = make_vm(m)
    vm.stock(cpu=1, levels=range(3))
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vm.vcpu("vcpu"), 0, 1))
    m.thread("fault", vm.sets(0, vm.leaf(0x51)))


def _table_of(entry: int) -> int:
    return (entry & TABLE_MASK) >> TABLE_SHIFT


def _next_table(vm: Vm, cpu: int) -> int:
    """The PTE table that ``cpu`` will get when it next asks for one."""
    vm.stock(cpu, levels=range(1))
    cache = vm.kvm + CACHES
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
    m.thread("first", vm.sets(0, vm.leaf(0x51)))
    m.thread("second", vm.sets(1, vm.leaf(0x52)))

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
    vcpu = running_vcpu(vm)
    waits = vm.kvm + Kvm.offset("stat")
    pte = vm.leaf(frame >> FRAME_SHIFT)
    m.thread("guest", (guest_reads, vm.kvm, vcpu, 0))
    m.thread("fault", (fill_and_map, frame, vm.kvm, 0, pte, HVA, waits))


# -- taken -------------------------------------------------------------------------------


def walk_and_collapse(m: Setup) -> None:
    """A table gives way to a huge leaf while a walker may be in it."""
    vm = make_vm(m)
    vm.map(0)
    m.thread("walker", vm.age())
    m.thread("host", vm.sets(0, vm.leaf(HUGE_PFN), level=1))


def guest_and_collapse(m: Setup) -> None:
    """The same while a guest runs: the hardware takes part in no read section."""
    vm = make_vm(m)
    mapped_frame(vm, value=7)
    vcpu = running_vcpu(vm)
    m.thread("guest", (guest_walks, vm.kvm, vcpu, 0))
    m.thread("host", vm.sets(0, vm.leaf(HUGE_PFN), level=1))


@kernel
def swap_out(kvm: Ptr[Kvm], hva: u64, frame: Ptr[u64]) -> u64:
    """The host takes the page away and saves it."""
    kvm_mmu_notifier_invalidate_range_start(addr(kvm.notifier), hva, hva + 1)
    return READ_ONCE(frame.value)


def write_and_swap_out(m: Setup) -> None:
    vm = make_vm(m)
    frame = mapped_frame(vm)
    vcpu = running_vcpu(vm)
    m.call(mmu_walk_hw, vm.kvm, vcpu, 0, 1)
    m.watch("frame0", frame)
    m.thread("guest", (guest_writes_and_stays, vm.kvm, vcpu, 0))
    m.thread("host", (swap_out, vm.kvm, HVA, frame))
    m.never(
        "write-not-saved",
        lambda end: end["frame0"] == 1 and end.result("host") == 0,
        "The guest wrote to the page, and what was saved is from before.",
    )


CREATE = Scenario("walk-vs-create", walk_and_create, SMALL)
HW_CREATE = Scenario("hardware-vs-create", hardware_and_create, SMALL)
TWO_FAULTS = Scenario("two-faults", two_faults, SMALL)
NEW_FRAME = Scenario("guest-vs-new-frame", new_frame, SMALL, stand_ins=GIVES_UP)
COLLAPSE = Scenario("walk-vs-collapse", walk_and_collapse, SMALL)
GUEST_COLLAPSE = Scenario("guest-vs-collapse", guest_and_collapse, SMALL)
SWAP_OUT = Scenario("guest-vs-swap-out", write_and_swap_out, SMALL, stand_ins=GIVES_UP)

CLAIMS = [
    Claim(
        "16-tables-and-frames-published",
        "Neither a walker nor the hardware ever reads a table or a frame that was not filled "
        "yet, and no mapping is lost where two faults meet.",
        f"{RADIX} (kvmppc_create_pte)",
        (
            Case("walk while tables are linked in", CREATE),
            Case("hardware while tables are linked in", HW_CREATE),
            Case("guest while a new frame is mapped", NEW_FRAME),
            Case("two faults at one missing table", TWO_FAULTS),
        ),
    ),
    Claim(
        "17-tables-and-frames-taken",
        "A table that gives way to a huge leaf is not freed under a walker, and a frame that "
        "is taken away holds the guest's last write.",
        f"{RADIX} (kvmppc_unmap_free_pte), virt/kvm/kvm_main.c",
        (
            Case("walk while a table is collapsed", COLLAPSE),
            Case("guest writes while its page is swapped out", SWAP_OUT),
        ),
    ),
]
