"""Which of Debian's packages a host and a kernel take, and whether they can be had.

A kernel's package is one of several versions; the highest whose parts all can be had is taken.
A kernel comes in four parts: itself, its headers, the headers common to all flavours, and
``kbuild``, the programs that build modules, for this machine.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from mkold.base.errors import InputError
from mkold.validate.rig.apt import Apt, File, GoneError, kernels, tools
from mkold.validate.rig.hosts import Host, HostKernel

_FLAVOUR = re.compile(r"-(cloud-)?(amd64|arm64|powerpc64le)(-64k)?$")
KERNEL_PARTS = ("linux-binary", "linux-modules")
KBUILD_LIBRARIES = ("libc6", "libelf1t64", "zlib1g", "libzstd1")
MOST_TRIES = 4


@dataclass(frozen=True, slots=True)
class Part:
    """Packages from one source. ``release`` is the kernel's own name of its version."""

    source: Apt
    files: tuple[File, ...]
    release: str = ""

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


def compiler(host: Host) -> str:
    """The C compiler for ``host``."""
    return f"{host.gnu}-gcc-12"


def tool_packages(host: Host) -> list[str]:
    """What is needed to run here and not found."""
    found = []
    if shutil.which(host.program) is None:
        found.append(host.package)
    if shutil.which(compiler(host)) is None:
        if host.debian == "amd64":
            found.append("gcc-12")
        else:
            found += [f"gcc-12-{host.gnu}", f"libc6-dev-{host.debian}-cross"]
    if shutil.which("make") is None:
        found.append("make")
    return found


def tool_part(folder: Path, host: Host) -> Part:
    """QEMU and compiler, with what they take.

    Raises
    ------
    InputError : they can't be had
    """
    source = tools(folder)
    wanted = tool_packages(host)
    if not wanted:
        return Part(source, ())
    source.prepare()
    try:
        return Part(source, tuple(source.files(source.missing(wanted))))
    except GoneError:
        source.update()
        return Part(source, tuple(source.files(source.missing(wanted))))


def kernel_names(source: Apt, host: Host, kernel: HostKernel) -> list[str]:
    """Releases of the kernel that there are, highest first.

    Raises
    ------
    InputError : there is none
    """
    names = [name.removeprefix("linux-image-") for name in source.names(kernel.package)]
    if not names:
        raise InputError(f"Debian has no {kernel.package.strip('^$')} for {host.debian} now")
    return names[:MOST_TRIES]


def kernel_part(source: Apt, host: Host, release: str, *, newest: bool = False) -> Part:
    """The packages of a release. The newest comes in more parts, and its ``kbuild``, built for
    a newer system than this, with libraries.

    Raises
    ------
    GoneError : apt does not know one of them
    """
    base = _FLAVOUR.sub("", release)
    target = f":{host.debian}"
    files = source.files([f"linux-image-{release}{target}", f"linux-headers-{release}{target}"])
    files += source.files([f"linux-headers-{base}-common"])
    try:
        files += source.files([f"linux-kbuild-{base}"])
    except GoneError:
        files += source.files([f"linux-kbuild-{'.'.join(base.split('.')[:2])}"])
    if newest:
        files += source.files([f"{part}-{release}{target}" for part in KERNEL_PARTS])
        files += source.files(list(KBUILD_LIBRARIES))
    return Part(source, tuple(files), release)


def kernel_source(folder: Path, host: Host, kernel: HostKernel) -> Apt:
    """Where the kernel comes from, its index at hand."""
    source = kernels(folder, host.debian, newest=kernel.newest)
    source.prepare()
    return source
