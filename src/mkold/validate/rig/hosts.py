"""The machines that real kernels run on: a row each, all of them emulated by QEMU.

Only the emulation is slow; the kernel, its KVM and the guest inside are real. One processor,
so that nothing ages but what was told to.

Known limits: of what a processor may choose (who sets R and C, how long a translation is
kept), one sees what QEMU chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mkold.base.errors import UsageError


@dataclass(frozen=True, slots=True)
class HostKernel:
    """A kernel for a host.

    Parameters
    ----------
    package : pattern of the names of Debian's packages; the highest version is taken
    kernel : mkold's name for how its KVM ages
    newest : whether it is from what Debian has not released yet
    page_size : mkold's name for its base page
    damon : whether it was configured with DAMON
    """

    package: str
    kernel: str = ""
    newest: bool = False
    page_size: str = "4k"
    damon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine.

    Parameters
    ----------
    name, sentence : as on the command line, and what it is
    arch : mkold's architecture
    debian : Debian's name of it; ``gnu`` is GNU's, ``linux`` the kernel's
    guest : the agent's part for it
    kind : what the guest is besides, as ``Vm.guest``
    program, package : QEMU, and Debian's package of it
    options : of QEMU
    line : the kernel's name for the serial line to the agent
    console : the kernel's options for its own output
    apart : whether that goes another way than the agent's line
    append : more options of the kernel
    image : of the kernel in the package
    modules : to be loaded, with parameters
    kernels : by name, the usual one first
    mmu : mode of mkold's MMU
    log : the dirty log of its guests, as ``vm.Vm`` has it
    huge : whether its guests can be compared with huge pages
    huge_log : kernels of which they can be compared with the dirty log then
    needs_tick : whether no vCPU enters its guest on a processor where no timer is set
    parameters : of mkold's build
    """

    name: str
    sentence: str
    arch: str
    debian: str
    gnu: str
    linux: str
    guest: str
    program: str
    package: str
    options: tuple[str, ...]
    line: str
    console: str
    apart: bool = False
    append: str = ""
    image: str
    modules: Mapping[str, str]
    kernels: Mapping[str, HostKernel]
    kind: str = ""
    mmu: str = ""
    log: str = ""
    huge: bool = False
    huge_log: tuple[str, ...] = ()
    needs_tick: bool = False
    parameters: Mapping[str, int] = field(default_factory=dict)

    def kernel(self, name: str) -> HostKernel:
        """The kernel called ``name``; the usual one if that is empty.

        Raises
        ------
        UsageError : there is none; lists those there are
        """
        found = self.kernels.get(name or next(iter(self.kernels)))
        if found is None:
            known = ", ".join(self.kernels)
            raise UsageError(f"host {self.name} has no kernel {name}; it has {known}")
        return found


_POWER_KERNELS = {
    "6.12": HostKernel(r"^linux-image-6\.12\.[0-9]+\+deb12-powerpc64le$", damon=True),
    "6.1": HostKernel(r"^linux-image-6\.1\.0-[0-9]+-powerpc64le$"),
    "6.12-64k": HostKernel(
        r"^linux-image-6\.12\.[0-9]+\+deb12-powerpc64le-64k$",
        page_size="64k",
        damon=True,
    ),
    "newest": HostKernel(r"^linux-image-[0-9.]+\+deb[0-9]+-powerpc64le$", newest=True),
}


def _power(
    name: str, sentence: str, *options: str, kind: str = "", mmu: str = "", huge: bool = False
) -> Host:
    return Host(
        name=name,
        sentence=sentence,
        arch="powerpc",
        debian="ppc64el",
        gnu="powerpc64le-linux-gnu",
        linux="powerpc",
        guest=f"guest_powerpc_{kind}.c" if kind else "guest_powerpc.c",
        kind=kind,
        program="qemu-system-ppc64",
        package="qemu-system-ppc",
        options=(*options, "-m", "2G", "-serial", "stdio"),
        line="hvc0",
        console="console=hvc0",
        # A hash table would be made where pages under test may lie, which would be moved; and
        # Debian's newest lets DAMON_STAT clear accessed bits from the start.
        append="kvm_cma_resv_ratio=0 damon_stat.enabled=N",
        image="vmlinux",
        modules={"kvm-hv": "", "lzo-rle": "", "zram": ""},
        kernels=_POWER_KERNELS,
        mmu=mmu,
        log="" if kind else "plain",
        huge=huge,
        huge_log=("6.12",) if huge else (),
        # kvm_hv leaves the guest in time for the next timer; of none it thinks that it is past.
        needs_tick=True,
        parameters={
            "HW_PTE_YOUNG": 0,
            "HPT_ALIAS": 1 << 22,
            "HW_SETS_RC": 1,
            "MPROTECT_YOUNG": 1,
            # Eviction looks around only where that needs no lock, and Linux always.
            "NESTED_LOCKLESS": 1,
        },
    )


_X86_KERNELS = {
    "6.12": HostKernel(
        r"^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64$", kernel="6.12", damon=True
    ),
    "6.1": HostKernel(r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$", kernel="6.1"),
    "newest": HostKernel(
        r"^linux-image-[0-9.]+\+deb[0-9]+-cloud-amd64$",
        kernel="6.15",
        newest=True,
        damon=True,
    ),
}

_X86 = Host(
    name="x86",
    sentence="EPYC, kvm-amd with nested paging",
    arch="x86",
    debian="amd64",
    gnu="x86_64-linux-gnu",
    linux="x86",
    guest="guest_x86.c",
    program="qemu-system-x86_64",
    package="qemu-system-x86",
    options=("-M", "q35", "-cpu", "EPYC,+svm,+npt", "-m", "1G", "-serial", "stdio"),
    line="ttyS1",
    console="console=ttyS0",
    apart=True,
    # Debian's newest lets DAMON_STAT clear accessed bits from the start.
    append="transparent_hugepage=madvise damon_stat.enabled=N",
    image="vmlinuz",
    modules={"kvm-amd": "", "lzo-rle": "", "zram": ""},
    kernels=_X86_KERNELS,
    mmu="npt",
    log="manual",
    huge=True,
    huge_log=tuple(_X86_KERNELS),
    parameters={"HW_PMD_YOUNG": 1},
)

_X86_SHADOW = replace(
    _X86,
    name="x86-shadow",
    sentence="the same, the TDP MMU turned off: shadow tables map every guest",
    arch="x86-shadow",
    modules={"kvm": "tdp_mmu=N", **_X86.modules},
    parameters={**_X86.parameters, "PTE_PREFETCH_NUM": 8},
)

_X86_NESTED = replace(
    _X86,
    name="x86-nested",
    sentence="the same, the guest has a guest: shadow tables beside the TDP MMU's",
    guest="guest_x86_nested.c",
    kind="npt",
    log="",
    huge=False,
)

_ARM64_KERNELS = {
    "6.12": HostKernel(
        r"^linux-image-6\.12\.[0-9]+\+deb12-cloud-arm64$", kernel="6.12", damon=True
    ),
    "6.1": HostKernel(r"^linux-image-6\.1\.0-[0-9]+-cloud-arm64$", kernel="6.1"),
    "newest": HostKernel(
        r"^linux-image-[0-9.]+\+deb[0-9]+-cloud-arm64$", kernel="6.15", newest=True
    ),
}


def _arm64(name: str, sentence: str, cpu: str, arch: str = "arm64") -> Host:
    return Host(
        name=name,
        sentence=sentence,
        arch=arch,
        debian="arm64",
        gnu="aarch64-linux-gnu",
        linux="arm64",
        guest="guest_arm64.c",
        program="qemu-system-aarch64",
        package="qemu-system-arm",
        options=(
            "-M", "virt,virtualization=on,gic-version=3", "-cpu", cpu, "-m", "1G",
            "-serial", "stdio",
        ),
        line="ttyAMA0",
        console="console=ttyAMA0",
        append="transparent_hugepage=madvise damon_stat.enabled=N",
        image="vmlinuz",
        modules={"lzo-rle": "", "zram": ""},
        kernels=_ARM64_KERNELS,
        log="manual",
        huge=True,
        huge_log=("6.12",),
        parameters={"HW_PTE_YOUNG": 1, "MAX_PHYSMEM_BITS": 52} if cpu.startswith("max")
        else {"HW_PTE_YOUNG": 0},
    )  # fmt: skip


_ROWS = (
    _X86,
    _X86_SHADOW,
    _X86_NESTED,
    _arm64("arm64", "Arm, VHE, the hardware sets the access flag", "max,pauth-impdef=on"),
    _arm64("arm64-soft", "Arm, VHE, software sets the access flag", "cortex-a72", "arm64-swaf"),
    _power("power9", "POWER9, kvm_hv on the radix tree", "-M", "powernv9", "-cpu", "POWER9"),
    _power(
        "power9-hash",
        "POWER9, kvm_hv, the guest has a hash table",
        "-M", "powernv9", "-cpu", "POWER9",
        kind="hash", mmu="hash",
    ),
    _power(
        "power9-nested",
        "POWER9, kvm_hv on the radix tree, the guest has a guest",
        "-M", "powernv9", "-cpu", "POWER9",
        kind="nested",
    ),
    _power("power10", "POWER10, the same kernel", "-M", "powernv10", "-cpu", "POWER10"),
    _power(
        "pseries",
        "a guest of POWER9's hypervisor with guests of its own",
        "-M", "pseries,cap-nested-hv=on,cap-ccf-assist=off", "-cpu", "POWER9",
        huge=True,  # powernv's device tree, as QEMU 7.2 has it, names no page of 2 MiB
    ),
)  # fmt: skip

HOSTS = {host.name: host for host in _ROWS}


def host(name: str) -> Host:
    """The host called ``name``.

    Raises
    ------
    UsageError : there is none; lists those there are
    """
    if name not in HOSTS:
        known = "\n".join(f"  {row.name:8} {row.sentence}" for row in _ROWS)
        raise UsageError(f"there is no host {name}; there are:\n{known}")
    return HOSTS[name]
