"""The VM that steps are done to, and how that stands in a script's head.

What a topic needs of the VM is a field here, a word in ``head``, and read in ``vm_of``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mkold.base.errors import InputError
from mkold.validate.pages import pages_text, read_pages, runs
from mkold.validate.step import Step

MOST_PAGES, MOST_SLOTS = 1 << 16, 5
HEAD = ("pages", "slots", "guest", "log", "huge", "damon", "running")
# What a guest may be besides one that touches its memory.
GUESTS = ("", "hash", "nested", "npt")
# Those that have a guest.
NESTED = ("nested", "npt")
PLAIN, MANUAL = "plain", "manual"


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM.

    Parameters
    ----------
    n_pages : pages of the process that may be the guest's memory
    slots : bitmap of those that the guest has, a memslot a run; 0: all of them
    guest : one of ``GUESTS``
    log : whether steps log dirty pages: empty, ``plain``, or ``manual`` where they also clear
        the log by themselves
    huge : whether the process asks for huge pages for all of them
    damon : whether the host has DAMON, and steps use it
    running : whether the vCPU has a processor of its own, on which it can run on
    """

    n_pages: int
    slots: int = 0
    guest: str = ""
    log: str = ""
    huge: bool = False
    damon: bool = False
    running: bool = False

    @property
    def all_pages(self) -> int:
        """Bitmap of all pages."""
        return (1 << self.n_pages) - 1

    @property
    def memslots(self) -> Iterator[tuple[int, int]]:
        """First page of each memslot, and the one behind its last."""
        return runs(self.slots or self.all_pages)

    def head(self) -> dict[str, str]:
        """Its words in a script's head."""
        return {
            "pages": str(self.n_pages),
            "slots": pages_text(self.slots),
            "guest": self.guest,
            "log": self.log,
            "huge": "yes" if self.huge else "",
            "damon": "yes" if self.damon else "",
            "running": "yes" if self.running else "",
        }


def vm_of(head: Mapping[str, str]) -> Vm:
    """The VM that a script's head names.

    Raises
    ------
    InputError : it can't be had
    """
    text = head["pages"]
    if not text.isdecimal():
        raise InputError(f"{text!r} is no number of pages")
    n_pages = int(text)
    if not 0 < n_pages <= MOST_PAGES:
        raise InputError(f"1 to {MOST_PAGES} pages can be had, not {n_pages}")
    slots = read_pages(head.get("slots", ""))
    if slots >> n_pages or len(list(runs(slots))) > MOST_SLOTS:
        raise InputError(f"{n_pages} pages in at most {MOST_SLOTS} slots")
    guest = head.get("guest", "")
    if guest not in GUESTS:
        raise InputError(f"there is no guest {guest!r}; there are: {', '.join(GUESTS[1:])}")
    log = head.get("log", "")
    if log not in ("", PLAIN, MANUAL):
        raise InputError(f"a log is {PLAIN} or {MANUAL}, not {log!r}")
    has = {word: head.get(word, "") for word in ("huge", "damon", "running")}
    for word, text in has.items():
        if text not in ("", "yes"):
            raise InputError(f"a VM has it ('{word} yes') or not, not {text!r}")
    vm = Vm(n_pages, slots, guest, log, *(text == "yes" for text in has.values()))
    if why := refused(vm):
        raise InputError(why)
    return vm


def refused(vm: Vm) -> str:
    """Why what a VM has can't be had together; empty: it can."""
    if vm.running and vm.huge:
        return "a vCPU that runs on is compared with base pages only, not with huge ones"
    if vm.running and vm.guest:
        return "a guest with a table or a guest of its own is not one that runs on"
    return ""


def slots_of(vm: Vm, pages: int) -> Iterator[tuple[int, int, int]]:
    """Of the memslots that have any of ``pages``: number, first page, the one behind the
    last."""
    for number, (first, end) in enumerate(vm.memslots):
        if pages >> first & ((1 << (end - first)) - 1):
            yield number, first, end


def gone_after(gone: int, step: Step, vm: Vm) -> int:
    """The pages without a slot behind a step, if ``gone`` are before it."""
    if step.name not in ("slot-delete", "slot-create"):
        return gone
    for _, first, end in slots_of(vm, step.pages):
        slot = ((1 << (end - first)) - 1) << first
        gone = gone | slot if step.name == "slot-delete" else gone & ~slot
    return gone
