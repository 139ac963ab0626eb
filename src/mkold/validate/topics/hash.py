"""A POWER guest with a hash table: pages by a second name, and the switch of the VM's mode.

Rules
-----
* The guest's kernel enters a page when it is touched, read-only if it was read. By its second
  name a page has an entry of its own: so rings of two HPTEs come about.
* A switch of the mode, or a new hash table, is made while no vCPU runs; nothing is mapped
  behind it, and R is forgotten. In radix mode a page has one name.
"""

from __future__ import annotations

from mkold.base.errors import MkoldError
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.book3s import kvm_vm_ioctl_configure_mmu
from mkold.kvm.powerpc.hash.hpt import PPC_MIN_HPT_ORDER
from mkold.kvm.powerpc.hash.hpte import HPT_ALIAS
from mkold.kvm.powerpc.switch import kvm_vm_ioctl_allocate_htab
from mkold.kvm.types import KVM_PFN_ERR
from mkold.kvm.vcpu import kvm_vcpu_access
from mkold.lang import READ_ONCE, Ptr, kernel, u64
from mkold.validate.pages import pages_text
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.topics.access import guest_touches
from mkold.validate.vm import Vm


@kernel
def alias_access(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """One load or store of the guest by the page's second name, if it has one now; 1: it has
    no memory there."""
    name = gfn if READ_ONCE(kvm.arch.radix) else gfn | HPT_ALIAS
    return kvm_vcpu_access(kvm, vcpu, name, write) >= KVM_PFN_ERR


def real(real: Real, step: Step) -> None:
    """``alias w 3-5``, ``mmu hash``."""
    what, how = step.name.split("-")
    real.ask(f"alias {how[0]} {pages_text(step.pages)}" if step.pages else f"{what} {how}")


def system(system: System, step: Step) -> None:
    """Page by page; or the ioctl."""
    failed = 0
    if step.name == "mmu-hash":
        failed = system.call("kvm_vm_ioctl_allocate_htab", system.kvm, PPC_MIN_HPT_ORDER)
    elif step.name == "mmu-radix":
        failed = system.call("kvm_vm_ioctl_configure_mmu", system.kvm, 1)
    else:
        write = int(step.name == "alias-write")
        failed = guest_touches(system, "alias_access", step.pages, write)
    if failed:
        raise MkoldError(f"the system's VM was refused its memory: {step}")


def has_hash(vm: Vm) -> bool:
    """Whether the guest begins with a hash table."""
    return vm.guest == "hash"


HASH = Topic(
    kinds={
        "alias-read": Kind(False, 10, guest=True),
        "alias-write": Kind(False, 8, guest=True),
        "mmu-hash": Kind(False, 1, 0.0),
        "mmu-radix": Kind(False, 1, 0.0),
    },
    real=real,
    system=system,
    entries=(alias_access, kvm_vm_ioctl_allocate_htab, kvm_vm_ioctl_configure_mmu),
    fits=has_hash,
)
