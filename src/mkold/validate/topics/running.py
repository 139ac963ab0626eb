"""A vCPU that runs on while the host ages: it goes round a list of pages until it is halted.

Only of a VM with ``running yes`` in its script's head. The host has a second processor then, on
which nothing but the vCPU runs. Behind each step both sides wait until a whole round is over.

Rules
-----
* A translation that the vCPU uses hides its accesses: a page whose accessed bit was cleared
  stays old until the translation is gone. Who clears alone leaves it; who clears and flushes,
  or unmaps, must not. So pages have a bound: *may be old* are those of the loop that
  were cleared and not flushed since; all others of the loop *must be young*.
* Within the bound a processor is free, as any may drop a translation at any time: QEMU does so
  at each exit of the guest. mkold's vCPU keeps its own until it is told to flush, and drops, of
  those that may be old, what the real one is seen to have dropped. With that everything has to
  be the same again: what must be young on either side is, and what nobody touched is not.
* ``fresh``: pages of which the guest has what the process has there now. Who unmaps without a
  flush leaves the guest a page that is not its own any more.
* Any step of the guest's ends the loop first.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.base.errors import MkoldError
from mkold.kvm.types import KVM_PFN_ERR, TLB_BITS, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import NULL, READ_ONCE, Ptr, addr, kernel, u64
from mkold.mm.mm_types import PTE_PRESENT, Mm
from mkold.mm.pgtable import find_host_pte, pte_pfn
from mkold.validate.pages import pages_of, pages_text
from mkold.validate.real import Real
from mkold.validate.step import Step, chunks
from mkold.validate.system import BASE_GFN, System
from mkold.validate.topic import Kind, Topic
from mkold.validate.topics.aging import test_young
from mkold.validate.vm import Vm

CLEARS = ("clear-young", "clear-flush-young", "aging-pass", "pageout")
ENDS = ("guest-read", "guest-write", "loop-read", "loop-write", "halt")


@kernel
def ask_frame(mm: Ptr[Mm], page: u64) -> u64:
    """The frame that the process has at ``page``; all ones: none."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL or not READ_ONCE(ptep.value) & PTE_PRESENT:
        return ~0
    return pte_pfn(READ_ONCE(ptep.value))


@kernel
def forget(vcpu: Ptr[Vcpu], gfn: u64) -> None:
    """The processor drops its translation of ``gfn``, as it may at any time."""
    entry = addr(vcpu.tlb[gfn & ((1 << TLB_BITS) - 1)])
    if entry.tag == gfn + 1:
        entry.tag = 0


def real(real: Real, step: Step) -> None:
    """``loop r 3-5``, ``halt``."""
    name, _, access = step.name.partition("-")
    real.ask(f"{name} {access[:1]} {pages_text(step.pages)}".rstrip())


def real_settle(real: Real) -> None:
    """Until the guest has gone round all of its list."""
    real.ask("settle")


def real_look(real: Real) -> dict[str, int]:
    """Which pages of the loop the guest sees as they are."""
    return real.bitmaps("fresh", ("fresh",))


def system(system: System, step: Step) -> None:
    """The loop's pages; it goes round when the step is over."""
    if step.name != "halt":
        system.loop.pages = step.pages
        system.loop.write = int(step.name == "loop-write")
        system.call("guest_enter", system.kvm, system.vcpu)
        system.call("kvm_vcpu_put", system.vcpu)


def before(system: System, step: Step, told: Mapping[str, int]) -> None:
    """What the real processor dropped before a step, to be seen in the step's answer or, where
    it ends the loop, in what is left."""
    loop = system.loop
    dropped = 0
    if step.name in ENDS:
        dropped = told.get("young", 0)
    elif step.name in ("clear-young", "clear-flush-young", "test-young"):
        dropped = _asked_young(step, told.get("answer", 0))
    _drop(system, dropped & loop.may_be_old)
    if step.name in ENDS:
        loop.pages = loop.may_be_old = 0


def after(system: System, step: Step, answer: int | None, told: Mapping[str, int]) -> None:
    """Go round; and drop what the real processor dropped."""
    loop = system.loop
    if not loop.pages:
        return
    flushes = step.name == "clear-flush-young" and not system.elides_flush
    if flushes:
        loop.may_be_old &= ~_asked_young(step, answer or 0)
    elif step.name in CLEARS:
        loop.may_be_old |= loop.pages & (step.pages or system.vm.all_pages)
    elif step.name == "dontneed":
        loop.may_be_old &= ~step.pages
    _go_round(system)
    _drop(system, told.get("young", 0) & loop.may_be_old)
    loop.may_be_old &= ~_young(system, loop.may_be_old)


def _asked_young(step: Step, answer: int) -> int:
    """Pages of the chunks that were answered to be young."""
    return (
        sum(
            ((1 << (end - first)) - 1) << first
            for first, end in chunks(step)
            if answer >> first & 1
        )
        & step.pages
    )


def _young(system: System, pages: int) -> int:
    return system.each(pages, lambda page: test_young(system, page))


def _drop(system: System, pages: int) -> None:
    """The vCPU's translations of those of ``pages`` that are old; then it goes round."""
    old = pages & ~_young(system, pages)
    for page in pages_of(old):
        system.call("forget", system.vcpu, BASE_GFN + page)
    if old:
        _go_round(system)


def _go_round(system: System) -> None:
    """Twice: a fault of the first round may flush what the round had filled."""
    loop = system.loop
    failed = system.call("kvm_vcpu_load", system.kvm, system.vcpu)
    for page in 2 * list(pages_of(loop.pages)):
        pfn = system.call(
            "kvm_vcpu_access", system.kvm, system.vcpu, BASE_GFN + page, loop.write
        )
        failed |= pfn >= KVM_PFN_ERR
        loop.frames[page] = pfn
    system.call("kvm_vcpu_put", system.vcpu)
    if failed:
        raise MkoldError("the system's guest was refused its own memory")


def system_look(system: System) -> dict[str, int]:
    """The same: it used the frame that the process has."""
    frames = system.loop.frames
    fresh = system.each(
        system.loop.pages,
        lambda page: frames[page] == system.call("ask_frame", system.mm.at, system.hva(page)),
    )
    return {"fresh": fresh}


def runs_on(vm: Vm) -> bool:
    """Whether there is a processor for it."""
    return vm.running


RUNNING = Topic(
    kinds={
        "loop-read": Kind(False, 6, guest=True),
        "loop-write": Kind(False, 4, guest=True),
        "halt": Kind(False, 3, 0.0),
    },
    real=real,
    system=system,
    entries=(kvm_vcpu_load, kvm_vcpu_access, kvm_vcpu_put, ask_frame, forget),
    real_look=real_look,
    system_look=system_look,
    real_after=real_settle,
    before=before,
    after=after,
    fits=runs_on,
)
