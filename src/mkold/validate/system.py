"""Steps on mkold's system: its own machine code, of one architecture and kernel.

Nothing is modelled beside the code: the machine is laid out and booted as ``mkold run`` does
it, a step is calls of kernel Python, and an answer is what those return. ``Way`` says by which
of the system's paths the host asks for the guest's age.

Known limits: one vCPU, all calls from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from mkold.base.errors import MkoldError
from mkold.ir.boot import BOOT_WORDS
from mkold.ir.definition import Definition
from mkold.ir.nodes import Function
from mkold.kvm.main import kvm_create_vm, kvm_init
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.types import TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.mm.fault.madvise import madvise_dontneed, madvise_pageout
from mkold.mm.mglru.generations import lru_init
from mkold.mm.mglru.walk import try_to_inc_max_seq
from mkold.mm.mm_init import mm_init, node_init
from mkold.mm.mm_types import MAX_NR_GENS
from mkold.mm.mmu_notifier import mmu_notifier_subscriptions_init
from mkold.mm.page_alloc import memblock_init, page_alloc_init
from mkold.native import Image, Memory, build
from mkold.run.host_memory import HostMemory
from mkold.run.image import parameters
from mkold.run.layout import Layout
from mkold.run.sizes import frames_for, table_words
from mkold.run.spec import MODES, MachineSpec
from mkold.validate import code
from mkold.validate.pages import bitmap, pages_of, runs
from mkold.validate.steps import Step, chunks

WAYS = ("locked", "lockless")
BATCH = 64
BASE_GFN = 4096
VMA_START = 1 << 20  # the process's pages begin at a multiple of any leaf's size
ENTRIES: tuple[Definition, ...] = (
    memblock_init, page_alloc_init, node_init, lru_init, mm_init, madvise_dontneed,
    madvise_pageout, try_to_inc_max_seq,
    mmu_notifier_subscriptions_init, kvm_init, kvm_create_vm, kvm_add_memslot, kvm_vcpu_init,
    code.process_access, code.guest_enter, code.guest_access, code.guest_leave,
    code.ask_clear_young, code.ask_test_young, code.ask_batch, code.ask_range,
    code.ask_host_young, code.ask_present, code.ask_swapped, code.ask_generation,
)  # fmt: skip
Edit = Callable[[Mapping[str, Function], Mapping[str, int]], Mapping[str, Function]]


@dataclass(frozen=True, slots=True)
class SystemSpec:
    """Which system: the machine, the way, and build parameters that have the last word."""

    machine: MachineSpec
    way: str = "locked"
    changes: tuple[tuple[str, int], ...] = ()

    @property
    def name(self) -> str:
        """In a line."""
        machine = self.machine.check()
        return f"{machine.arch} {machine.kernel} {machine.mmu}, {self.way}"


def system_image(spec: SystemSpec, *, edit: Edit | None = None) -> Image:
    """Its machine code; with ``edit``, of a changed source."""
    machine = spec.machine.check()
    arch = machine.architecture
    mode = arch.modes[machine.mmu]
    entries = [*ENTRIES, *([mode.configure] if mode.configure else [])]
    values = parameters(machine) | dict(spec.changes)
    return build(entries, values, hooks=arch.hooks, checked=True, edit=edit)


class System:
    """A VM of ``n_pages``, of which the guest has ``slots`` (0: all), on mkold's system."""

    def __init__(self, image: Image, spec: SystemSpec, n_pages: int, slots: int = 0) -> None:
        self._image, self._spec, self._n_pages = image, spec, n_pages
        self._slots = slots or (1 << n_pages) - 1
        self._lay_out()
        self._boot()

    def _lay_out(self) -> None:
        machine, n_pages = self._spec.machine.check(), self._n_pages
        arch, values = machine.architecture, self._image.parameters
        layout = Layout(BOOT_WORDS)
        self._kvm, self._vcpu = layout.struct(arch.kvm), layout.struct(arch.vcpu)
        self._tlb = layout.area(TlbEntry.size << values["TLB_BITS"])
        self._bitmap = layout.area(1)
        slab_words = table_words(n_pages + BASE_GFN, machine)
        self._host_memory = HostMemory(
            layout, values, n_pages, frames_for(n_pages, 1.0), slab_words
        )
        self.memory = Memory(layout.end)
        self.node, self.mm = self._host_memory.places(self.memory.words)

    def call(self, name: str, *args: int) -> int:
        """Run a function of the image; what it returns, 0 if nothing."""
        result = self._image.call(name, self.memory, 0, *args)
        return result if isinstance(result, int) else 0

    def _boot(self) -> None:
        call = self.call
        self._host_memory.boot(call, self.mm, MODES[self._spec.way], VMA_START)
        call("kvm_init")
        failed = call("kvm_create_vm", self._kvm, self.mm.at)
        for first, end in runs(self._slots):
            start = BASE_GFN + first
            slot = call("kvm_add_memslot", self._kvm, start, end - first, VMA_START + first)
            failed |= slot >> 63
        machine = self._spec.machine.check()
        mode = machine.architecture.modes[machine.mmu]
        if mode.configure:
            failed |= call(mode.configure.name, self._kvm, mode.word)
        if failed:
            raise MkoldError("the system's machine has no memory to boot")
        call("kvm_vcpu_init", self._kvm, self._vcpu, self._tlb)

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""
        match step.name:
            case "guest-read" | "guest-write":
                self._guest(step.pages, int(step.name == "guest-write"))
            case "host-read" | "host-write":
                self._process(step.pages, int(step.name == "host-write"))
            case "dontneed" | "pageout":
                for page in pages_of(step.pages):
                    name = f"madvise_{step.name}"
                    self.call(name, self.mm.at, *self._hvas(page, page + 1))
            case "aging-pass":
                self.call("try_to_inc_max_seq", self.mm.at, self.node["lrugen.max_seq"], 1)
            case "test-young":
                return self._each(step.pages, self._test_young)
            case "clear-host-young":
                return self._each(step.pages, partial(self._host_young, clear=1))
            case _:
                return self._clear_young(step)
        return None

    def look(self) -> dict[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""
        pages = (1 << self._n_pages) - 1
        return {
            "young": self._each(pages, self._test_young),
            "host": self._each(pages, partial(self._host_young, clear=0)),
            "present": self._each(pages, self._present),
            "swapped": self._each(pages, self._swapped),
            **self._generations(),
        }

    def _generations(self) -> dict[str, int]:
        """Which pages are on a list, and two bits of how far behind the youngest."""
        found = dict.fromkeys(("listed", "behind-1", "behind-2"), 0)
        max_seq = self.node["lrugen.max_seq"]
        for page in range(self._n_pages):
            stored = self.call("ask_generation", self.mm.at, VMA_START + page)
            if stored:
                behind = (max_seq + 1 - stored) % MAX_NR_GENS
                found["listed"] |= 1 << page
                found["behind-1"] |= (behind & 1) << page
                found["behind-2"] |= (behind >> 1) << page
        return found

    def _hvas(self, first: int, end: int) -> tuple[int, int]:
        return VMA_START + first, VMA_START + end

    def _each(self, pages: int, ask: Callable[[int], int]) -> int:
        return bitmap(page for page in pages_of(pages) if ask(page))

    def _guest(self, pages: int, write: int) -> None:
        failed = self.call("guest_enter", self._kvm, self._vcpu)
        for page in pages_of(pages):
            failed |= self.call("guest_access", self._kvm, self._vcpu, BASE_GFN + page, write)
        self.call("guest_leave", self._vcpu)
        if failed:
            raise MkoldError("the system's guest was refused its own memory")

    def _process(self, pages: int, write: int) -> None:
        for page in pages_of(pages):
            if self.call("process_access", self.mm.at, VMA_START + page, write):
                raise MkoldError("the system's process was refused its own memory")

    def _host_young(self, page: int, clear: int) -> int:
        return self.call("ask_host_young", self.mm.at, VMA_START + page, clear)

    def _present(self, page: int) -> int:
        return self.call("ask_present", self.mm.at, VMA_START + page)

    def _swapped(self, page: int) -> int:
        return self.call("ask_swapped", self.mm.at, VMA_START + page)

    def _test_young(self, page: int) -> int:
        if self._spec.way == "lockless":
            return self.call("ask_range", self.mm.at, *self._hvas(page, page + 1), 0)
        return self.call("ask_test_young", self._kvm, VMA_START + page)

    def _clear_young(self, step: Step) -> int:
        flush = step.name == "clear-flush-young"
        if self._spec.way == "lockless" and not flush:
            return self._batched(step.pages) if step.by == 1 else self._ranges(step)
        found = [
            first
            for first, end in chunks(step)
            if self.call("ask_clear_young", self.mm.at, *self._hvas(first, end), int(flush))
        ]
        return bitmap(found)

    def _ranges(self, step: Step) -> int:
        return bitmap(
            first
            for first, end in chunks(step)
            if self.call("ask_range", self.mm.at, *self._hvas(first, end), 1)
        )

    def _batched(self, pages: int) -> int:
        """Pages in batches by bitmap; bits come with the last page lowest."""
        found = 0
        for first, end in runs(pages):
            for at in range(first, end, BATCH):
                n = min(BATCH, end - at)
                hvas = self._hvas(at, at + n)
                bits = self.call("ask_batch", self.mm.at, *hvas, 1, self._bitmap)
                found |= int(f"{bits:0{n}b}"[::-1], 2) << at
        return found
