"""Memslots that go while the VM lives, and come back.

A step is about those that have any of its pages.

Rules
-----
* While a slot is gone the guest does not touch its pages; the process may.
* Its dirty log goes with it, and does not come back.
"""

from __future__ import annotations

from mkold.kvm.memslot_life import kvm_create_memslot, kvm_delete_memslot
from mkold.validate.pages import pages_text
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import Vm, gone_after, slots_of


def real(real: Real, step: Step) -> None:
    """``slot delete 3-5``."""
    real.ask(f"slot {step.name.removeprefix('slot-')} {pages_text(step.pages)}")


def system(system: System, step: Step) -> None:
    """Slot by slot."""
    for number, first, end in slots_of(system.vm, step.pages):
        is_gone = bool(system.gone >> first & 1)
        if step.name == "slot-delete" and not is_gone:
            system.call("kvm_delete_memslot", system.kvm, number)
        elif step.name == "slot-create" and is_gone:
            system.call("kvm_create_memslot", system.kvm, number, end - first)
    system.gone = gone_after(system.gone, step, system.vm)


def has_several(vm: Vm) -> bool:
    """Whether something is left when one goes."""
    return vm.slots != 0 and not (vm.guest or vm.huge or vm.running)


SLOTS = Topic(
    kinds={
        "slot-delete": Kind(False, 4, 0.1),
        "slot-create": Kind(False, 6, 0.4),
    },
    real=real,
    system=system,
    entries=(kvm_delete_memslot, kvm_create_memslot),
    fits=has_several,
)
