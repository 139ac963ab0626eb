"""What an architecture says of itself: its hooks, structs and build parameters, its choices.

``run`` lays out and drives a machine by this, the command line offers what it lists, and
scenarios bind its hooks. Everything of an architecture that is not kernel Python is here, in
one value; its folder has a module ``machine`` with that value under the name ``machine``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mkold.base.errors import UsageError
from mkold.ir.definition import Definition
from mkold.kvm.types import Kvm, Vcpu


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways to build or run a machine: a sentence, and build parameters."""

    sentence: str
    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PageSize(Choice):
    """A base page of ``1 << shift`` bytes, and the geometry of the tables that goes with it."""

    shift: int = 12


@dataclass(frozen=True, slots=True)
class Kernel(Choice):
    """A version of the source, as far as it ages differently. ``lockless``: whether it can age
    without ``mmu_lock``; one that cannot has no such path to run."""

    lockless: bool = True


@dataclass(frozen=True, slots=True)
class Mode(Choice):
    """A mode of a VM's MMU: ``configure(kvm, word)`` brings the VM into it while it runs, and
    returns 0, or 1 if there is no memory. None where there is but one mode. ``table_words`` is
    the room that it takes for a guest of so many pages beside the architecture's."""

    configure: Definition | None = None
    word: int = 0
    table_words: Callable[[int], int] = lambda n_pages: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nesting(Choice):
    """How a VM (L1) comes to run a guest of its own (L2), whose vCPUs replay the trace.

    Parameters
    ----------
    modes : in which modes of its MMU it can
    boot : ``boot(kvm, vcpu, n_pages)`` lets L1 make its tables for a guest of so many pages, on
        one of its vCPUs, before any runs; 0, or 1 if there is no memory
    enter : ``enter(kvm, vcpu, number)`` lets a vCPU run that guest from there on; likewise
    number : what L1 calls the guest
    own_pages : of a guest of so many pages, where a page has ``1 << shift`` words: the pages in
        front of its memory that L1 keeps for itself
    table_words : room that this takes for so many pages beside the architecture's
    hooks : those that stand for something else in such a VM
    audit : in place of the architecture's, if it has to be another
    """

    modes: tuple[str, ...]
    boot: Definition
    enter: Definition
    number: int
    own_pages: Callable[[int, int], int]
    table_words: Callable[[int], int]
    hooks: Mapping[str, Definition] = field(default_factory=dict)
    audit: Definition | None = None


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture. Of several choices the first is the default.

    Parameters
    ----------
    name : as on the command line
    hooks : what each hook of ``mkold.kvm.arch`` stands for, by the hook's name
    kvm, vcpu : the VM's struct and the vCPU's, which begin with the generic ones
    kernels : versions of the source, such as "6.15"
    page_sizes : base pages, such as "4k"
    clears : ways in which the lockless pass clears an accessed bit
    modes : what a VM's MMU can be
    variants : stated changes to the source that ``mkold run`` can replay
    table_words : room for the tables of a guest of so many pages, in words
    small : build parameters of the smallest geometry, for scenarios, with ``parameters``
    parameters : build parameters that it always has
    audit : ``audit(kvm)`` looks through the books of a stopped VM: 0, or the number of the
        first rule that is broken
    nesting : how a VM runs a guest of its own; None: it does not
    """

    name: str
    hooks: Mapping[str, Definition]
    kvm: type[Kvm]
    vcpu: type[Vcpu]
    kernels: Mapping[str, Kernel]
    page_sizes: Mapping[str, PageSize]
    clears: Mapping[str, Choice]
    modes: Mapping[str, Mode]
    variants: Mapping[str, Choice]
    table_words: Callable[[int], int]
    small: Mapping[str, int]
    parameters: Mapping[str, int] = field(default_factory=dict)
    audit: Definition | None = None
    nesting: Nesting | None = None


def chosen(what: str, choices: Mapping[str, Choice], name: str) -> str:
    """``name`` if there is such a choice, the default if it is empty.

    Raises
    ------
    UsageError : there is no such choice; lists those there are
    """
    if name in choices:
        return name
    if not name and choices:
        return next(iter(choices))
    known = "\n".join(f"  {key:16} {choice.sentence}" for key, choice in choices.items())
    raise UsageError(f"there is no {what} {name}; there are:\n{known}")
