"""The dirty log of the guest's memslots.

A step is about those memslots that have any of its pages, and but for ``log-on`` only about
those of them that are logged.
"""

from __future__ import annotations

from mkold.kvm.dirty_log import (
    kvm_clear_dirty_log_protect,
    kvm_enable_dirty_log_protect2,
    kvm_get_dirty_log,
    kvm_log_dirty_pages,
    kvm_log_no_dirty_pages,
)
from mkold.kvm.types import (
    KVM_DIRTY_LOG_INITIALLY_SET,
    KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
    Kvm,
    MemorySlot,
)
from mkold.validate.pages import pages_text
from mkold.validate.real import Real, bits_of
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import MANUAL, Vm, slots_of

# Letters of the agent's, and options of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
COMMANDS = {"log-on": "o", "log-off": "e", "get-dirty-log": "g", "clear-dirty-log": "c"}
MODES = {
    "log-auto": 0,
    "log-manual": KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
    "log-all-set": KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET,
}


def real(real: Real, step: Step) -> int | None:
    """``log g 3-5``, or ``logmode 1``."""
    if step.name in MODES:
        real.ask(f"logmode {MODES[step.name]}")
        return None
    words = real.ask(f"log {COMMANDS[step.name]} {pages_text(step.pages)}")
    return bits_of(words[0]) if step.name == "get-dirty-log" else None


def system(system: System, step: Step) -> int | None:
    """The same, a memslot at a time."""
    if step.name in MODES:
        system.call("kvm_enable_dirty_log_protect2", system.kvm, MODES[step.name])
        return None
    found = 0
    for number, first, end in slots_of(system.vm, step.pages & ~system.gone):
        logged = bool(system.memory.words[_slot(system, number, "dirty_bitmap")])
        # Each memslot's words, and no other's: two share none if they begin so far apart.
        words = (first >> 6) + number
        if step.name == "log-on" and not logged:
            system.expect("kvm_log_dirty_pages", system.kvm, number, system.logs[0] + words)
        elif step.name == "log-off" and logged:
            system.expect("kvm_log_no_dirty_pages", system.kvm, number)
        elif step.name == "get-dirty-log" and logged:
            log = system.logs[1] + words
            system.expect("kvm_get_dirty_log", system.kvm, number, log)
            found |= _bits(system, log, end - first) << first
        elif step.name == "clear-dirty-log" and logged:
            _clear(system, number, first, end, step.pages)
    return found if step.name == "get-dirty-log" else None


def _slot(system: System, number: int, field: str) -> int:
    """The address of a field of a memslot."""
    slots = system.kvm + Kvm.offset("slots")
    return slots + number * MemorySlot.size + MemorySlot.offset(field)


def _bits(system: System, log: int, n: int) -> int:
    words = system.memory.words[log : log + (n + 63) // 64]
    return sum(int(word) << 64 * i for i, word in enumerate(words)) & ((1 << n) - 1)


def _clear(system: System, number: int, first: int, end: int, pages: int) -> None:
    """Clear the log of those of ``pages`` that lie in a memslot."""
    log = system.logs[1] + (first >> 6) + number
    bits = pages >> first & ((1 << (end - first)) - 1)
    for i in range((end - first + 63) // 64):
        system.memory.words[log + i] = bits >> 64 * i & ((1 << 64) - 1)
    system.expect("kvm_clear_dirty_log_protect", system.kvm, number, 0, end - first, log)


def _logs(vm: Vm) -> bool:
    return vm.log != ""


def _logs_manually(vm: Vm) -> bool:
    return vm.log == MANUAL


DIRTY = Topic(
    kinds={
        "log-on": Kind(False, 6, 1.0, slots=True),
        "log-off": Kind(False, 3, slots=True),
        "get-dirty-log": Kind(True, 12, 1.0, slots=True),
    },
    real=real,
    system=system,
    entries=(kvm_log_dirty_pages, kvm_log_no_dirty_pages, kvm_get_dirty_log),
    fits=_logs,
)
DIRTY_MANUAL = Topic(
    kinds={
        "clear-dirty-log": Kind(False, 12, 1.0, slots=True),
        "log-auto": Kind(False, 1, 0.0),
        "log-manual": Kind(False, 1, 0.0),
        "log-all-set": Kind(False, 1, 0.0),
    },
    real=real,
    system=system,
    entries=(kvm_enable_dirty_log_protect2, kvm_clear_dirty_log_protect),
    fits=_logs_manually,
)
