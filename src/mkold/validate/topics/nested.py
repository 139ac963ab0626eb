"""A POWER guest (L1) that has a guest of its own (L2), on the radix tree.

Rules
-----
* L1's table of L2's memory begins empty. L1 maps a page when L2's access is given back to it,
  and notes there who read and who wrote, as L1's KVM does.
* What L1 takes away it says by H_TLB_INVALIDATE; that it cleared R it tells nobody.
"""

from __future__ import annotations

from mkold.base.errors import MkoldError
from mkold.kvm.arch import kvm_arch_vcpu_walk
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.nested.enter import kvmhv_enter_nested_guest, kvmhv_exit_nested_guest
from mkold.kvm.powerpc.nested.fault import allowed, wanted_rc
from mkold.kvm.powerpc.nested.l1 import L2_LPID, l1_write
from mkold.kvm.powerpc.nested.l1_memory import kvm_read_guest_word
from mkold.kvm.powerpc.nested.tlbie import (
    RIC_ALL,
    RIC_TLB,
    kvmhv_emulate_tlbie_lpid,
    kvmhv_emulate_tlbie_tlb_addr,
)
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_DIRTY,
    _PAGE_READ,
    _PAGE_WRITE,
    pfn_pte,
)
from mkold.kvm.types import KVM_PFN_ERR
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import Ptr, kernel, u64
from mkold.mm.mm_types import PAGE_SHIFT
from mkold.validate.pages import pages_of, pages_text
from mkold.validate.real import Real, bits_of
from mkold.validate.step import Step
from mkold.validate.system import BASE_GFN, System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import Vm


@kernel
def l1_load(kvm: Ptr[Kvm], table: u64, n: u64) -> u64:
    """Entry ``n`` of L1's leaf tables, which begin at its page ``table``."""
    _failed, word = kvm_read_guest_word(
        kvm, table + (n >> PAGE_SHIFT), n & ((1 << PAGE_SHIFT) - 1)
    )
    return word


@kernel
def l1_store(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, entry: u64) -> u64:
    """L1 writes that entry; 1: it has no memory there."""
    if kvm_vcpu_load(kvm, vcpu):
        return 1
    offset = n & ((1 << PAGE_SHIFT) - 1)
    failed = l1_write(kvm, vcpu, table + (n >> PAGE_SHIFT), offset, entry)
    kvm_vcpu_put(vcpu)
    return failed


@kernel
def l1_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, gfn: u64, write: u64) -> u64:
    """L1's fault handler, if the access is L1's to allow."""
    old = l1_load(kvm, table, n)
    want = wanted_rc(write)
    if allowed(old, write) and (old & want) == want:
        return 0
    want = _PAGE_ACCESSED | (_PAGE_DIRTY if write else 0)
    kept = old & (_PAGE_ACCESSED | _PAGE_DIRTY)
    return l1_store(kvm, vcpu, table, n, pfn_pte(gfn, _PAGE_READ | _PAGE_WRITE | want | kept))


@kernel
def l2_walks(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, write: u64) -> u64:
    """Whether the hardware allows L2 the access as it is."""
    if kvmhv_enter_nested_guest(kvm, vcpu, L2_LPID) or kvm_vcpu_load(kvm, vcpu):
        return 0
    ok, _pfn = kvm_arch_vcpu_walk(kvm, vcpu, n, write)
    kvm_vcpu_put(vcpu)
    kvmhv_exit_nested_guest(kvm, vcpu)
    return ok


@kernel
def l2_access(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, gfn: u64, write: u64) -> u64:
    """One load or store of L2 to its page ``n``, L1's ``gfn``; 1: it has no memory there."""
    if not l2_walks(kvm, vcpu, n, write) and l1_fault(kvm, vcpu, table, n, gfn, write):
        return 1
    if kvmhv_enter_nested_guest(kvm, vcpu, L2_LPID) or kvm_vcpu_load(kvm, vcpu):
        return 1
    failed = kvm_vcpu_access(kvm, vcpu, n, write) >= KVM_PFN_ERR
    kvm_vcpu_put(vcpu)
    kvmhv_exit_nested_guest(kvm, vcpu)
    return failed


@kernel
def l1_clear(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], table: u64, n: u64, bits: u64, tell: u64) -> u64:
    """L1 clears bits of its entry ``n`` (0: all of it), and perhaps says so; bit 0: whether
    it had R, bit 1: it has no memory there."""
    old = l1_load(kvm, table, n)
    if old == 0:
        return 0
    failed = l1_store(kvm, vcpu, table, n, old & ~bits if bits else 0)
    if tell:
        kvmhv_emulate_tlbie_tlb_addr(kvm, L2_LPID, n, 1)
    return (failed << 1) | ((old & _PAGE_ACCESSED) != 0)


def real(real: Real, step: Step) -> int | None:
    """``l2 w 3-5``, ``l1-unmap 3``, ``l1-flush all``."""
    pages = pages_text(step.pages)
    match step.name:
        case "l2-read" | "l2-write":
            real.ask(f"l2 {step.name[3]} {pages}")
        case "l1-clear-young":
            return bits_of(real.ask(f"l1-age {pages}")[0])
        case "l1-clean":
            return bits_of(real.ask(f"l1-clean {pages}")[0])
        case "l1-flush" | "l1-flush-all":
            real.ask(f"l1-flush {'all' if step.name.endswith('all') else 'tlb'}")
        case _:
            real.ask(f"{step.name} {pages}")
    return None


def system(system: System, step: Step) -> int | None:
    """Page by page."""
    if step.name.startswith("l1-flush"):
        ric = RIC_ALL if step.name.endswith("all") else RIC_TLB
        system.call("kvmhv_emulate_tlbie_lpid", system.kvm, L2_LPID, ric)
        return None
    at, found, failed = (system.kvm, system.vcpu, system.l1_leaves), 0, 0
    bits, tell = {
        "l1-unmap": (0, 1),
        "l1-protect": (_PAGE_WRITE | _PAGE_DIRTY, 1),
        "l1-clear-young": (_PAGE_ACCESSED, 0),
    }.get(step.name, (0, 0))
    for page in pages_of(step.pages):
        if step.name.startswith("l2"):
            write = int(step.name == "l2-write")
            failed |= system.call("l2_access", *at, page, BASE_GFN + page, write)
        else:
            said = system.call("l1_clear", *at, page, bits, tell)
            found, failed = found | (said & 1) << page, failed | said >> 1
    if failed:
        raise MkoldError(f"the system's guest was refused its memory: {step}")
    return found if step.name == "l1-clear-young" else None


def has_guest(vm: Vm) -> bool:
    """Whether the guest has a guest."""
    return vm.guest == "nested"


NESTED = Topic(
    kinds={
        "l2-read": Kind(False, 18, guest=True),
        "l2-write": Kind(False, 14, guest=True),
        "l1-unmap": Kind(False, 4, 0.2),
        "l1-protect": Kind(False, 4, 0.3),
        "l1-clear-young": Kind(True, 4, 1.0),
        "l1-flush": Kind(False, 2, 0.0),
        "l1-flush-all": Kind(False, 1, 0.0),
    },
    real=real,
    system=system,
    entries=(l2_access, l1_clear, l1_store, kvmhv_emulate_tlbie_lpid),
    parameters={"VM_LOCKED": 1},
    fits=has_guest,
)
