"""What a host's files say of KVM, of its MMU, and of who ages.

Sources: Documentation/admin-guide/mm/multigen_lru.rst, .../damon/usage.rst,
.../idle_page_tracking.rst; arch/x86/kvm/mmu/mmu.c, vmx/vmx.c, svm/svm.c (module parameters);
arch/powerpc/kernel/setup-common.c and mm/book3s64 (``/proc/cpuinfo``: MMU, platform);
virt/kvm/kvm_main.c (``/sys/kernel/debug/kvm``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mkold.base.errors import InputError
from mkold.base.shown import shown
from mkold.host.files import Files
from mkold.host.generations import LRU_GEN, Lruvec, lruvecs

MACHINES = {
    "x86_64": "x86", "i686": "x86", "amd64": "x86", "aarch64": "arm64", "arm64": "arm64",
    "ppc64le": "powerpc", "ppc64": "powerpc", "ppc64el": "powerpc", "s390x": "s390",
}  # fmt: skip
LRU_GEN_BITS = {1: "core", 2: "leaf batches", 4: "non-leaf", 8: "KVM batches"}
# Modules of KVM, and those of their parameters that bear on aging.
PARAMETERS = {
    "kvm": ("tdp_mmu", "nx_huge_pages", "eager_page_split"),
    "kvm_intel": ("ept", "eptad", "nested"),
    "kvm_amd": ("npt", "nested"),
    "kvm_hv": ("nested",),
    "kvm_pr": (),
}
DAMON = ("reclaim", "lru_sort", "stat")
YES = ("Y", "y", "1")


@dataclass(frozen=True, slots=True)
class Guest:
    """One running VM: how many vCPUs (0: the kernel does not say), and how many entries of
    each size map its memory (None: it does not count them)."""

    vcpus: int
    pages_4k: int | None = None
    pages_2m: int | None = None
    pages_1g: int | None = None

    @property
    def entries(self) -> int | None:
        """Leaf entries that a pass over all of it looks at."""
        if self.pages_4k is None:
            return None
        return self.pages_4k + (self.pages_2m or 0) + (self.pages_1g or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to know.

    Parameters
    ----------
    arch : "x86", "arm64", "powerpc", "s390", or the machine's own word
    release : as ``uname -r``
    version : major and minor
    cpu : the processor's name
    kvm : whether KVM is loaded
    vendor : "intel", "amd", "hv", "pr", or empty
    parameters : of KVM's modules, as "kvm.tdp_mmu"
    flags : words of the processor's flags, and of its flags of VMX
    mmu : powerpc's MMU ("radix", "hash"); empty elsewhere
    hypervised : whether the host is itself a guest
    config : options of the kernel's configuration that are on; None: it could not be read
    lru_gen : bits of ``lru_gen/enabled``; None: the kernel has no multi-generational LRU
    min_ttl_ms : as its file says
    thp : transparent huge pages: "always", "madvise", "never", or empty
    damon : what runs: kdamonds, reclaim, lru_sort, stat
    page_idle : whether there is a bitmap of idle pages
    swap : whether there is swap space
    lruvecs : cgroups with their generations; empty: there are none, or root alone may read
    guests : running VMs; None: that could not be read
    """

    arch: str
    release: str
    version: tuple[int, int]
    cpu: str
    kvm: bool
    vendor: str
    parameters: dict[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    mmu: str = ""
    hypervised: bool = False
    config: frozenset[str] | None = None
    cmdline: str = ""
    lru_gen: int | None = None
    min_ttl_ms: int | None = None
    thp: str = ""
    damon: tuple[str, ...] = ()
    page_idle: bool = False
    swap: bool = False
    lruvecs: tuple[Lruvec, ...] = ()
    guests: tuple[Guest, ...] | None = None

    def parameter(self, name: str) -> bool | None:
        """A parameter that is on or off; None if it is not known."""
        text = self.parameters.get(name)
        return None if text is None else text in YES


def look(files: Files) -> Facts:
    """Read all of it.

    Raises
    ------
    InputError : these are no files of a Linux host
    """
    release = files.read("/proc/sys/kernel/osrelease") or _release(files)
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None:
        raise InputError(
            f"{files.root}: no Linux: /proc/sys/kernel/osrelease and /proc/version say "
            f"{shown(release, most=60) or 'nothing'}"
        )
    info = files.read("/proc/cpuinfo")
    parameters = _parameters(files)
    return Facts(
        arch=_arch(info, files.read("/proc/version"), release),
        release=release,
        version=(int(found.group(1)), int(found.group(2))),
        cpu=_field(info, "model name") or _field(info, "cpu") or _field(info, "Model"),
        kvm=files.exists("/sys/module/kvm"),
        vendor=_vendor(files, parameters),
        parameters=parameters,
        flags=frozenset((_field(info, "flags") + " " + _field(info, "vmx flags")).split()),
        mmu=_field(info, "MMU").lower(),
        hypervised="hypervisor" in _field(info, "flags").split()
        or _field(info, "platform").lower().startswith("pseries"),
        config=_config(files, release),
        cmdline=files.read("/proc/cmdline"),
        lru_gen=files.number("/sys/kernel/mm/lru_gen/enabled"),
        min_ttl_ms=files.number("/sys/kernel/mm/lru_gen/min_ttl_ms"),
        thp=_bracketed(files.read("/sys/kernel/mm/transparent_hugepage/enabled")),
        damon=_damon(files),
        page_idle=files.exists("/sys/kernel/mm/page_idle/bitmap"),
        swap=len(files.read("/proc/swaps").splitlines()) > 1,
        lruvecs=tuple(lruvecs(files.read(LRU_GEN))),
        guests=_guests(files),
    )


def _release(files: Files) -> str:
    found = re.search(r"Linux version (\S+)", files.read("/proc/version"))
    return found.group(1) if found else ""


def _field(info: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", info, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _arch(info: str, version: str, release: str) -> str:
    """From ``/proc/cpuinfo``, whose lines differ; else a word of the kernel's own name."""
    if _field(info, "vendor_id") in ("GenuineIntel", "AuthenticAMD", "HygonGenuine"):
        return "x86"
    if _field(info, "CPU implementer"):
        return "arm64"
    if "POWER" in _field(info, "cpu"):
        return "powerpc"
    words = re.split(r"[-.\s]", f"{release} {version}")
    known = (MACHINES[word] for word in words if word in MACHINES)
    return next(known, _field(info, "vendor_id") or "unknown")


def _parameters(files: Files) -> dict[str, str]:
    return {
        f"{module}.{name}": files.read(f"/sys/module/{module}/parameters/{name}")
        for module, names in PARAMETERS.items()
        for name in names
        if files.exists(f"/sys/module/{module}/parameters/{name}")
    }


def _vendor(files: Files, parameters: dict[str, str]) -> str:
    for module in list(PARAMETERS)[1:]:
        known = any(name.startswith(f"{module}.") for name in parameters)
        if known or files.exists(f"/sys/module/{module}"):
            return module.removeprefix("kvm_")
    return ""


def _config(files: Files, release: str) -> frozenset[str] | None:
    text = files.read("/proc/config.gz") or files.read(f"/boot/config-{release}")
    if not text:
        return None
    return frozenset(re.findall(r"^(CONFIG_\w+)=[ym]$", text, re.MULTILINE))


def _bracketed(text: str) -> str:
    return text.partition("[")[2].partition("]")[0]


def _damon(files: Files) -> tuple[str, ...]:
    found = [
        name
        for name in DAMON
        if files.read(f"/sys/module/damon_{name}/parameters/enabled") in YES
    ]
    if files.number("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"):
        found.append("kdamonds")
    return tuple(found)


def _guests(files: Files) -> tuple[Guest, ...] | None:
    folder = "/sys/kernel/debug/kvm"
    names = files.names(folder)
    if not names:
        return None
    guests = []
    for name in names:
        if re.fullmatch(r"\d+-\d+", name):
            inside = files.names(f"{folder}/{name}")
            pages = {
                size: files.number(f"{folder}/{name}/{size}")
                for size in ("pages_4k", "pages_2m", "pages_1g")
                if size in inside
            }
            vcpus = sum(re.fullmatch(r"vcpu\d+", entry) is not None for entry in inside)
            guests.append(Guest(vcpus, **pages))
    return tuple(guests)
