"""Steps on mkold's system: its own machine code, of one architecture and kernel.

Nothing is modelled beside the code: the machine is laid out and booted as ``mkold run`` does
it, a step is calls of kernel Python, and an answer is what those return (``topics``). A *way*
says by which of the system's paths the host asks for the guest's age.

Known limits: one vCPU, all calls from one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mkold.base.errors import MkoldError
from mkold.ir.boot import BOOT_WORDS
from mkold.ir.definition import Definition
from mkold.ir.nodes import Function
from mkold.kvm.main import kvm_create_vm, kvm_init
from mkold.kvm.memslots import kvm_add_memslot, kvm_memslot_set_level
from mkold.kvm.types import TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.mm.damon import DamonCtx, DamonRegion
from mkold.mm.fault.collapse import madvise_collapse
from mkold.mm.fault.mprotect import mprotect_read
from mkold.mm.large_frames import huge_frames_init
from mkold.mm.mglru.generations import lru_init
from mkold.mm.mm_init import mm_init, node_init
from mkold.mm.mmu_notifier import mmu_notifier_subscriptions_init
from mkold.mm.page_alloc import memblock_init, page_alloc_init
from mkold.native import Image, Memory, build
from mkold.run.host_memory import HostMemory
from mkold.run.image import parameters
from mkold.run.layout import Layout
from mkold.run.sizes import frames_for, table_words
from mkold.run.spec import MODES, MachineSpec
from mkold.validate.pages import bitmap, pages_of
from mkold.validate.vm import MOST_SLOTS, Vm

WAYS = ("locked", "lockless")
WORD_PAGES = 64
HUGE_RUNS = 48  # of frames, for large folios
BASE_GFN = 4096
L1_ALIGN = 512  # pages: L1's own begin at a table of the host's
VMA_START = 1 << 20  # the process's pages begin at a multiple of any leaf's size
ENTRIES: tuple[Definition, ...] = (
    memblock_init, page_alloc_init, node_init, lru_init, mm_init,
    mmu_notifier_subscriptions_init, kvm_init, kvm_create_vm, kvm_add_memslot, kvm_vcpu_init,
    kvm_memslot_set_level, huge_frames_init, madvise_collapse, mprotect_read,
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


def system_image(
    spec: SystemSpec, entries: Sequence[Definition], *, edit: Edit | None = None
) -> Image:
    """Its machine code, in which the functions ``entries`` can be called; with ``edit``, of a
    changed source."""
    machine = spec.machine.check()
    arch = machine.architecture
    mode = arch.modes[machine.mmu]
    configure = [mode.configure] if mode.configure else []
    nesting = machine.nesting
    boot = [nesting.boot] if nesting else []
    hooks = {**arch.hooks, **(nesting.hooks if nesting else {})}
    values = parameters(machine) | dict(spec.changes)
    called = [*ENTRIES, *entries, *configure, *boot]
    return build(called, values, hooks=hooks, checked=True, optimised=False, edit=edit)


@dataclass(slots=True)
class Loop:
    """What the vCPU goes round.

    Parameters
    ----------
    pages : that it touches; 0: it is outside
    write : whether it writes
    may_be_old : of ``pages`` those that were cleared, and not flushed since
    frames : that it used for each page, the last time
    """

    pages: int = 0
    write: int = 0
    may_be_old: int = 0
    frames: dict[int, int] = field(default_factory=dict)


class System:
    """A VM on mkold's system.

    Attributes
    ----------
    vm : its set-up
    way : by which of the system's paths the host asks
    kvm, vcpu, mm, node : addresses and places of these structs
    bitmap : address of a word for answers
    l1_leaves : of a guest that has a guest: its page where its leaf tables begin
    damon, regions : addresses of DAMON's context, and of room for a region a page
    loop : what its vCPU goes round
    gone : bitmap of the pages whose memslot was deleted
    logs : addresses of words for dirty bitmaps, and for what is read of them
    """

    def __init__(self, image: Image, spec: SystemSpec, vm: Vm) -> None:
        self._image, self._machine = image, spec.machine.check()
        self.vm, self.way, self.loop = vm, spec.way, Loop()
        self.gone = 0
        self._lay_out()
        self._boot()

    def _lay_out(self) -> None:
        machine, n_pages = self._machine, self.vm.n_pages
        arch, values = machine.architecture, self._image.parameters
        layout = Layout(BOOT_WORDS)
        self.kvm, self.vcpu = layout.struct(arch.kvm), layout.struct(arch.vcpu)
        self._tlb = layout.area(TlbEntry.size << values["TLB_BITS"])
        self.bitmap = layout.area(1)
        log_words = n_pages // 64 + 2 * MOST_SLOTS
        self.damon = layout.struct(DamonCtx)
        self.regions = layout.area(DamonRegion.size * n_pages)
        self.logs = layout.area(log_words), layout.area(log_words)
        shift, nesting = values["PAGE_SHIFT"], machine.nesting
        self._own_pages = nesting.own_pages(n_pages, shift) if nesting else 0
        self.l1_leaves = self._own_pages - -(-n_pages >> shift)
        if nesting:
            self._own_first = -(-n_pages // L1_ALIGN) * L1_ALIGN
            n_pages = self._own_first + self._own_pages
        slab_words = table_words(n_pages + BASE_GFN, machine)
        self._host_memory = HostMemory(
            layout, values, n_pages, frames_for(n_pages, 1.0), slab_words,
            HUGE_RUNS if self.vm.huge else 0,
        )  # fmt: skip
        self.memory = Memory(layout.end)
        self.node, self.mm = self._host_memory.places(self.memory.words)

    def call(self, name: str, *args: int) -> int:
        """Run a function of the image; what it returns, 0 if nothing."""
        result = self._image.call(name, self.memory, 0, *args)
        return result if isinstance(result, int) else 0

    def expect(self, name: str, *args: int) -> None:
        """Call a function that returns 0.

        Raises
        ------
        MkoldError : it says that it failed
        """
        if self.call(name, *args):
            raise MkoldError(f"the system refused {name}")

    def _boot(self) -> None:
        call = self.call
        self._host_memory.boot(call, self.mm, MODES[self.way], VMA_START)
        if self._machine.nesting:
            self._lock_own_pages()
        call("kvm_init")
        failed = call("kvm_create_vm", self.kvm, self.mm.at)
        for first, end in self.vm.memslots:
            start = BASE_GFN + first
            slot = call("kvm_add_memslot", self.kvm, start, end - first, VMA_START + first)
            failed |= slot >> 63
            if self.vm.huge:
                call("kvm_memslot_set_level", self.kvm, slot, 1)
        mode = self._machine.architecture.modes[self._machine.mmu]
        if mode.configure:
            failed |= call(mode.configure.name, self.kvm, mode.word)
        call("kvm_vcpu_init", self.kvm, self.vcpu, self._tlb)
        failed |= self._boot_l1()
        if failed:
            raise MkoldError("the system's machine has no memory to boot")

    def _lock_own_pages(self) -> None:
        """What a guest that has a guest keeps for itself is a VMA of its own, and locked."""
        self.mm["vma_pages"] = self.vm.n_pages
        self.mm["locked_start"] = VMA_START + self._own_first
        self.mm["locked_pages"] = self._own_pages

    def _boot_l1(self) -> int:
        """Let a guest that has a guest make its tables, in memory of its own behind the pages
        of the process, which no table of the host's maps too; 1: no memory."""
        nesting, n_pages = self._machine.nesting, self.vm.n_pages
        if not nesting:
            return 0
        hva = VMA_START + self._own_first
        slot = self.call("kvm_add_memslot", self.kvm, 0, self._own_pages, hva)
        failed = self.call(nesting.boot.name, self.kvm, self.vcpu, n_pages)
        for page in range(n_pages):
            failed |= self.call("l1_store", self.kvm, self.vcpu, self.l1_leaves, page, 0)
        return failed | slot >> 63

    @property
    def elides_flush(self) -> bool:
        """Whether its kernel does not flush when it is asked to clear and flush."""
        return bool(self._image.parameters["KVM_ELIDE_TLB_FLUSH_IF_YOUNG"])

    def hva(self, page: int) -> int:
        """The host's number of a page."""
        return VMA_START + page

    def words(self, name: str, word: int = 0) -> int:
        """Bitmap of all pages, from a function that answers for up to 64 of them as
        ``look.in_word`` does."""
        found = 0
        for at in range(0, self.vm.n_pages, WORD_PAGES):
            n = min(WORD_PAGES, self.vm.n_pages - at)
            found |= self.call(name, self.mm.at, self.hva(at), n, word) << at
        return found

    def each(self, pages: int, ask: Callable[[int], int]) -> int:
        """Bitmap of those of ``pages`` for which ``ask`` says so."""
        return bitmap(page for page in pages_of(pages) if ask(page))
