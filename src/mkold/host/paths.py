"""From a host's facts to the way in which its guests are aged, and why.

Sources: kvm-x86 commits aa34b811650c and b146a9b34aed (aging without ``mmu_lock``, Linux
6.15, ``CONFIG_KVM_MMU_LOCKLESS_AGING``), 9fb13ba6b5ff..af3b6a9eba48 (the shadow MMU's rmap
bit); arch/arm64/kvm/mmu.c and arch/powerpc/kvm (``mmu_lock``, to this day); b9883ee40d7e (6.13:
aging flushes no TLB on x86); 1d4832becdc2 (6.13, and stable 6.12: the walk asks KVM).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mkold.host.facts import Facts

LOCKLESS_FROM = (6, 15)
WALK_ASKS_FROM = (6, 12)
NO_FLUSH_FROM = (6, 13)
LOCKLESS_CONFIG = "CONFIG_KVM_MMU_LOCKLESS_AGING"


@dataclass(frozen=True, slots=True)
class Path:
    """How guests are aged.

    Parameters
    ----------
    kind : "lockless", "locked" (``mmu_lock`` held for the whole of it), "none"
    sentence : the same in words
    because : reasons, most telling first
    missing : what the lockless path lacks here, each with what to do; nothing if it is there
    remarks : what else bears on it
    """

    kind: str
    sentence: str
    because: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def aging_path(facts: Facts) -> Path:
    """The path that guests of this host get today."""
    if not facts.kvm:
        return Path(
            "none",
            "No guest is aged: KVM is not loaded.",
            missing=("KVM: load its module (kvm_intel, kvm_amd, kvm_hv), or it is built out",),
        )
    missing = tuple(_missing(facts))
    remarks = (*_mglru(facts), *_remarks(facts))
    if missing:
        return Path("locked", _locked(facts), tuple(_because(facts)), missing, remarks)
    return Path(
        "lockless",
        f"Guests are aged without mmu_lock: {_walked(facts)}.",
        tuple(_because(facts)),
        (),
        remarks,
    )


def _locked(facts: Facts) -> str:
    held = "" if facts.arch == "powerpc" else ", held for writing"
    waits = "their faults wait for aging, and aging for them"
    return f"Guests are aged under mmu_lock{held}: {waits}."


def _walked(facts: Facts) -> str:
    if facts.parameter("kvm.tdp_mmu") is False:
        return "reverse maps are walked, each held by its own lock bit"
    return "the tables are walked under RCU"


def has_lockless(facts: Facts) -> bool:
    """Whether the kernel was built with aging without the lock."""
    if facts.config is not None:
        return LOCKLESS_CONFIG in facts.config
    return facts.arch == "x86" and facts.version >= LOCKLESS_FROM


def _because(facts: Facts) -> Iterator[str]:
    if facts.config is not None:
        on = "is on" if LOCKLESS_CONFIG in facts.config else "is not in its configuration"
        yield f"{LOCKLESS_CONFIG} {on}"
    elif facts.arch == "x86":
        yield f"x86 ages without the lock from Linux 6.15 on; this is {_version(facts)}"
    if facts.arch == "x86":
        yield _tables(facts)
    elif facts.arch == "arm64":
        yield "arm64 holds the lock in every version that was released"
    elif facts.arch == "powerpc":
        mmu = facts.mmu or "radix or hash"
        yield f"powerpc ({mmu} MMU) holds the lock in every version that was released"


def _tables(facts: Facts) -> str:
    """Which tables translate guests' memory on x86."""
    tdp = facts.parameter("kvm_intel.ept" if facts.vendor == "intel" else "kvm_amd.npt")
    name = "EPT" if facts.vendor == "intel" else "NPT"
    if tdp is False:
        return f"{name} is off: every guest runs on shadow tables"
    mmu = facts.parameter("kvm.tdp_mmu")
    if mmu is False:
        return f"{name} by the old MMU, with reverse maps (tdp_mmu is off)"
    return f"{name} by the TDP MMU" + ("" if tdp else " (as far as can be seen)")


def _missing(facts: Facts) -> Iterator[str]:
    if has_lockless(facts):
        return
    if facts.arch == "x86":
        if facts.version >= LOCKLESS_FROM:
            yield f"a kernel with {LOCKLESS_CONFIG}: this one was built without it"
        else:
            yield f"Linux 6.15 or later: this is {_version(facts)}"
    elif facts.arch == "powerpc":
        yield "a kernel that has it: posted for 6.5, and not taken"
        if facts.mmu == "hash":
            yield "the radix MMU: a hash table has no fast path in any version"
        if facts.hypervised:
            yield "bare metal: under pSeries the tables are the hypervisor's"
    elif facts.arch == "arm64":
        yield "a kernel that has it: posted for 6.5 to 6.12 and not taken"
        if "kvm-arm.mode=protected" in facts.cmdline:
            yield "a host without pKVM: it refuses the fast path"
    else:
        yield f"a kernel that has it: for {facts.arch} none is known here"


def _remarks(facts: Facts) -> Iterator[str]:
    if facts.arch == "x86":
        yield from _remarks_x86(facts)
    if facts.hypervised:
        yield "this host is a guest itself: its guests' tables are shadowed by the host below"
    if facts.thp == "always":
        yield "huge pages are always tried: one accessed bit speaks for 512 pages"


def _remarks_x86(facts: Facts) -> Iterator[str]:
    lacks = "vmx" in facts.flags and "ept_ad" not in facts.flags
    if facts.vendor == "intel" and (lacks or facts.parameter("kvm_intel.eptad") is False):
        yield (
            "EPT has no accessed bits here: aging takes access away, and the next access "
            "of each page is a fault"
        )
    if facts.parameter(f"kvm_{facts.vendor}.nested"):
        yield "guests may run guests: those are aged through shadow tables and reverse maps"
    if facts.version < NO_FLUSH_FROM:
        yield "before 6.13 clear_flush_young flushes all TLBs when a page was young"


def _mglru(facts: Facts) -> Iterator[str]:
    if facts.lru_gen is None:
        yield "no multi-generational LRU: pages are aged one by one, when reclaim meets them"
    elif not facts.lru_gen & 1:
        yield (
            "the multi-generational LRU is off: pages are aged one by one, when reclaim meets "
            "them (echo y > /sys/kernel/mm/lru_gen/enabled)"
        )
    elif facts.version < WALK_ASKS_FROM:
        yield (
            "its walk looks at the host's own entries alone before 6.12: what guests use looks "
            "idle until reclaim asks for it"
        )
    else:
        yield "its walk asks KVM, page by page"


def _version(facts: Facts) -> str:
    return ".".join(str(part) for part in facts.version)
