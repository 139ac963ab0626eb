"""PR, and the capability gate on every platform: claims 33 to 35."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.claims.powerpc.small_hash import FAULTS, FIRST_PFN, host_pte
from mkold.claims.powerpc.small_vm import HEAP_WORDS, HVA, SMALL
from mkold.claims.powerpc.switch import PATCH, REVIEW
from mkold.ir.boot import MEMBLOCK
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_start,
    kvm_mmu_notifier_test_clear_young,
)
from mkold.kvm.powerpc import book3s
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.machine import PR_HOST, machine
from mkold.kvm.powerpc.pr.mmu import kvmppc_mmu_map_page, mmu_walk_shadow
from mkold.kvm.powerpc.pr.shadow import kvmppc_mmu_pte_pflush
from mkold.kvm.types import TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.lang import NULL, Ptr, kernel, u64
from mkold.mm.mm_types import Mm
from mkold.mm.page_alloc import memblock_init

PR = "arch/powerpc/kvm/book3s_pr.c and book3s_mmu_hpte.c"

# (hypervisor mode, ISA 3.0, radix on, nested API offered) and the modules that are there.
PLATFORMS = {
    "POWER8, bare metal, hash": (1, 0, 0, 0),
    "POWER8, guest, hash": (0, 0, 0, 0),
    "POWER9, bare metal, radix": (1, 1, 1, 0),
    "POWER9, bare metal, hash": (1, 1, 0, 0),
    "POWER9, guest, hash": (0, 1, 0, 0),
    "POWER9, guest, radix, no nesting": (0, 1, 1, 0),
    "POWER9, guest, radix, nested API v1": (0, 1, 1, 1),
    "POWER10, guest, radix, nested API v2": (0, 1, 1, 2),
}
MODULES = {"HV": (1, 0), "PR": (0, 1), "HV and PR": (1, 1)}
OPS = Kvm.layout.field("arch.kvm_ops").offset


def heap(m: Setup) -> None:
    """Memory for slabs."""
    m.declare(SMALL)
    if not m.peek(MEMBLOCK):
        start = m.words(HEAP_WORDS, align=8)
        m.call(memblock_init, start, start + HEAP_WORDS)
    m.bind(machine.hooks)


@kernel
def may_have_test_clear_young(kvm: Ptr[Kvm]) -> tuple[u64, u64, u64]:
    """The posted gate; the reviewer's; and whether the VM has a fast path behind it."""
    path = kvm.arch.kvm_ops != NULL and kvm.arch.kvm_ops.test_clear_young != NULL
    posted = book3s.kvm_arch_has_test_clear_young()
    return posted != 0, book3s.radix_enabled_on_bare_metal() != 0, path


def boot_and_ask(m: Setup) -> None:
    """The modules are loaded as the machine lets them, and a VM is made."""
    heap(m)
    m.call(book3s.kvm_arch_init)
    kvm = m.new(Kvm, "kvm")
    m.call(book3s.kvm_arch_init_vm, kvm)
    m.thread("ask", (may_have_test_clear_young, kvm))
    m.never(
        "gates-differ",
        lambda end: end.result("ask") != end.result("ask", -1, 1),
        "One gate opens the fast path on this machine and the other does not.",
    )
    m.never(
        "open-in-vain",
        lambda end: end.result("ask") == 1 and not end.result("ask", -1, 2) and _made(m, kvm),
        "The gate is open, and the VM has no fast path.",
    )


def _made(m: Setup, kvm: int) -> bool:
    return m.peek(kvm + OPS) != 0


def _platform(name: str, modules: str) -> Case:
    hv, isa300, radix, api = PLATFORMS[name]
    has_hv, has_pr = MODULES[modules]
    params = {
        **SMALL, "CPU_FTR_HVMODE": hv, "CPU_FTR_ARCH_300": isa300, "MMU_FTR_TYPE_RADIX": radix,
        "NESTED_API": api, "KVM_HV": has_hv, "KVM_PR": has_pr,
    }  # fmt: skip
    label = f"gate-{hv}{isa300}{radix}-api{api}-hv{has_hv}-pr{has_pr}"
    return Case(f"{name}; {modules}", Scenario(label, boot_and_ask, params))


# -- claim 33: PR ---------------------------------------------------------------------------


def pr_vm(m: Setup) -> tuple[int, int, int]:
    """A VM under PR with one page of memory; and a vCPU; and the host's entry of the page."""
    heap(m)
    m.call(book3s.kvm_arch_init)
    kvm = m.new(Kvm, "kvm")
    assert not m.call(book3s.kvm_arch_init_vm, kvm)
    m.call(kvm_add_memslot, kvm, 0, 1, HVA)
    host, pmd, mm = m.words(1, "host_pte"), m.words(1, "pmd"), m.new(Mm, "mm")
    m.poke(host, host_pte(FIRST_PFN))
    m.poke(pmd, host)
    for name, value in (("vma_start", HVA), ("vma_pages", 1), ("pmd", pmd)):
        m.poke(mm + Mm.offset(name), value)
    m.poke(kvm + Kvm.offset("mm"), mm)
    vcpu = m.new(Vcpu, "vcpu")
    m.call(kvm_vcpu_init, kvm, vcpu, m.new(TlbEntry, "vcpu.tlb0"))
    return kvm, vcpu, host


@kernel
def always() -> u64:
    """Stands for a gate that says yes too often."""
    return 1


@kernel
def asks_blindly(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """``kvm_arch_test_clear_young`` that does not look whether there is a fast path."""
    failed, young = kvm.arch.kvm_ops.test_clear_young(kvm, gfn, end, clear, bitmap, last_bit)
    return failed, young


def ask_pr(m: Setup) -> None:
    """The guest uses its page; the host asks for its age, through a gate that lets it."""
    kvm, vcpu, _host = pr_vm(m)
    m.call(kvmppc_mmu_map_page, kvm, vcpu, 0, 1)
    m.watch("refused", kvm + Kvm.layout.field("stat.fast_refused").offset)
    m.thread("guest", (mmu_walk_shadow, kvm, vcpu, 0, 1))
    m.thread("host", (kvm_mmu_notifier_test_clear_young, kvm, HVA, HVA + 1, 1, 0))
    m.never("young", lambda end: end.result("host") != 0, "A page of a VM under PR is young.")
    m.never("answered", lambda end: end["refused"] != 1, "The fast path was not refused, once.")


def two_flushes(m: Setup) -> None:
    """The guest invalidates its page while the host unmaps it."""
    kvm, vcpu, _host = pr_vm(m)
    m.call(kvmppc_mmu_map_page, kvm, vcpu, 0, 1)
    m.watch("shadow", vcpu + Vcpu.layout.field("arch.shadow").offset)
    m.thread("guest", (kvmppc_mmu_pte_pflush, vcpu, 0, 1))
    m.thread("host", (kvm_mmu_notifier_invalidate_range_start, kvm, HVA, HVA + 1))
    m.never("still-mapped", lambda end: end["shadow"] != 0, "The page is still mapped.")


def map_and_unmap(m: Setup) -> None:
    """A fault maps the page while the host takes it away."""
    kvm, vcpu, _host = pr_vm(m)
    m.call(kvmppc_mmu_map_page, kvm, vcpu, 0, 1)  # an entry is in the cache afterwards
    m.call(kvmppc_mmu_pte_pflush, vcpu, 0, 1)
    m.watch("shadow", vcpu + Vcpu.layout.field("arch.shadow").offset)
    m.thread("guest", (kvmppc_mmu_map_page, kvm, vcpu, 0, 1))
    m.thread("host", (kvm_mmu_notifier_invalidate_range_start, kvm, HVA, HVA + 1))
    m.never("still-mapped", lambda end: end["shadow"] != 0, "The page is mapped all the same.")


UNDER_PR = {**SMALL, **PR_HOST}
OPEN_GATE = {"kvm_arch_has_test_clear_young": always}
ASK = Scenario("pr-is-asked", ask_pr, UNDER_PR, stand_ins=OPEN_GATE)
ASK_BLINDLY = Scenario(
    "pr-is-asked-blindly", ask_pr, UNDER_PR,
    stand_ins={**OPEN_GATE, "kvm_arch_test_clear_young": asks_blindly},
)  # fmt: skip
FLUSHES = Scenario("pr-two-flushes", two_flushes, UNDER_PR)
MAP_UNMAP = Scenario("pr-map-vs-unmap", map_and_unmap, UNDER_PR, stand_ins=FAULTS)
NO_SECTION = (
    Drop("kvmppc_mmu_pte_pflush:rcu_read_lock"),
    Drop("kvmppc_mmu_pte_pflush:rcu_read_unlock"),
)

CLAIMS = [
    Claim(
        "33-pr-never-young",
        "A VM under PR has no test_clear_young: the fast path fails, and on the slow one no "
        "page is ever young, whatever the guest does.",
        f"{PR}; {PATCH}",
        (
            Case("asked through a gate that is open", ASK),
            Case("the missing operation is called", ASK_BLINDLY, decides=False),
        ),
    ),
    Claim(
        "34-pr-unmaps",
        "Under PR unmapping finds every shadow entry, and none is freed under who scans.",
        PR,
        (
            Case("a fault and an unmap", MAP_UNMAP),
            Case("the guest's own flush and an unmap", FLUSHES),
            Case("scan without a read section", FLUSHES, NO_SECTION, decides=False, heavy=True),
        ),
    ),
    Claim(
        "35-gate-on-every-platform",
        "Wherever the gate is open, every VM has a fast path behind it, whichever modules are "
        "loaded; and both gates agree.",
        f"Piggin, {REVIEW}; {PATCH}",
        tuple(_platform(name, modules) for name in PLATFORMS for modules in MODULES),
    ),
]
