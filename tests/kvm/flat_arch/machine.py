"""What the flat architecture says of itself."""

from __future__ import annotations

from flat_arch import mmu, vcpu
from flat_arch.kvm_host import Kvm
from mkold.kvm.arch_default import DEFAULTS
from mkold.kvm.machine import Architecture, Choice, Kernel, Mode, PageSize
from mkold.kvm.types import Vcpu

HOOKS = DEFAULTS | {
    name: getattr(module, name)
    for module in (mmu, vcpu)
    for name in dir(module)
    if name.startswith(("kvm_arch_", "kvm_unmap", "kvm_set_spte", "kvm_age", "kvm_test_age"))
}

machine = Architecture(
    name="flat",
    hooks=HOOKS,
    kvm=Kvm,
    vcpu=Vcpu,
    kernels={"flat": Kernel("the only one")},
    page_sizes={"4k": PageSize("4 KiB")},
    clears={"andnot": Choice("an atomic clear")},
    modes={"flat": Mode("a flat table")},
    variants={},
    table_words=lambda n_pages: max(1 << 12, n_pages),
    small={"FLAT_PAGES": 2},
)
