"""The agent and the module, built by Debian's (cross) compiler.

Compiler and libraries may lie below the rig's ``root`` rather than in the system: then the
compiler is told where its parts are. A module is built against the kernel's headers by
``kbuild``; what that needs of paths is put right in the unpacked headers.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from mkold.base.errors import InputError
from mkold.validate.rig.hosts import Host
from mkold.validate.rig.parts import compiler

SOURCES = Path(__file__).parent
AGENT = (
    "main.c", "pages.c", "vm.c", "damon.c", "dirty.c", "host.c", "huge.c", "lru.c",
    "running.c", "slots.c",
)  # fmt: skip
MODULE = ("mkold_aging.c", "mkold_aging.h")
# What newer kernels were configured with that this compiler has no option for.
UNKNOWN_TO_GCC_12 = ("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=",)
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
KBUILD_TOOLS = ("scripts/mod/*.real-*", "tools/objtool/*.real-*")
_TIMEOUT_S = 600

# Not traced: a compiler older than the kernel's may lay out functions as its ftrace can't take.
_MAKEFILE = "obj-m := mkold_aging.o\nccflags-remove-y += $(CC_FLAGS_FTRACE)\n"


def digest() -> str:
    """Of what agent and module are built of: what was built otherwise is built again."""
    files = sorted(path for path in SOURCES.glob("*/*.[ch]"))
    parts = [_MAKEFILE.encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def environment(root: Path) -> dict[str, str]:
    """In which programs below ``root`` run as if they were installed."""
    places = [root / "usr/lib/x86_64-linux-gnu", root / "lib/x86_64-linux-gnu"]
    before = os.environ.get("LD_LIBRARY_PATH", "")
    paths = [str(place) for place in places if place.is_dir()] + ([before] if before else [])
    own = os.environ | {
        "PATH": f"{root / 'usr/bin'}:{os.environ.get('PATH', '')}",
        "LC_ALL": "C",
    }
    return own | ({"LD_LIBRARY_PATH": ":".join(paths)} if paths else {})


def _ran(words: list[str], root: Path, log: Path) -> None:
    try:
        with log.open("w") as output:
            code = subprocess.run(
                words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False,
                env=environment(root), timeout=_TIMEOUT_S,
            ).returncode  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{words[0]} does not run: {error}") from error
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise InputError("\n  ".join([f"{words[0]} failed; all of it is in {log}:", *last]))


def build_agent(host: Host, root: Path, into: Path) -> Path:
    """The agent, static.

    Raises
    ------
    InputError : the compiler fails, and what it said
    """
    cross = root / "usr" / host.gnu
    own: list[str] = []
    if cross.is_dir():
        own = [f"-B{cross / 'lib'}", f"-L{cross / 'lib'}", "-isystem", str(cross / "include")]
    files = [str(SOURCES / "agent" / name) for name in (*AGENT, host.guest)]
    result = into / "agent"
    words = [compiler(host), "-O1", "-Wall", "-static", "-pthread", *own, "-o", str(result)]
    _ran([*words, *files], root, into / "agent.log")
    return result


def build_module(host: Host, release: str, headers: Path, root: Path, into: Path) -> Path:
    """The module, for the kernel ``release`` whose headers are unpacked below ``headers``.

    Raises
    ------
    InputError : ``kbuild`` fails, and what it said
    """
    tree = headers / "usr/src" / f"linux-headers-{release}"
    _mend(tree, headers)
    folder = into / "module"
    folder.mkdir(exist_ok=True)
    for name in MODULE:
        shutil.copyfile(SOURCES / "module" / name, folder / name)
    (folder / "Makefile").write_text(_MAKEFILE)
    words = [
        "make", "-C", str(tree), f"M={folder}", f"ARCH={host.linux}", f"CC={compiler(host)}",
        f"CROSS_COMPILE={host.gnu}-", "PAHOLE=true", *UNKNOWN_TO_GCC_12,
        *([] if host.debian == "amd64" else ["CONFIG_OBJTOOL="]),  # it is this machine's own
        "modules",
    ]  # fmt: skip
    _ran(words, root, into / "module.log")
    return folder / "mkold_aging.ko"


def _mend(tree: Path, headers: Path) -> None:
    """Paths in the headers that begin at /usr begin below ``headers``."""
    makefile = tree / "Makefile"
    try:
        text = makefile.read_text()
        paths = r"^(include |KBUILD_OUTPUT=)/usr/"
        makefile.write_text(re.sub(paths, rf"\g<1>{headers}/usr/", text, flags=re.M))
    except OSError as error:
        raise InputError(f"the kernel's headers are not whole: {error.filename}") from error
    (tree / "vmlinux").unlink(missing_ok=True)
    _wrap_tools(tree, headers)
    for link in tree.iterdir():
        if link.is_symlink() and os.readlink(link).startswith("/usr/"):
            target = headers / os.readlink(link).lstrip("/")
            link.unlink()
            link.symlink_to(target)


def _wrap_tools(tree: Path, headers: Path) -> None:
    """Where a C library came with the headers, let ``kbuild``'s programs run with that."""
    loader = headers / LOADER
    if not loader.exists():
        return
    libraries = headers / "usr/lib/x86_64-linux-gnu"
    for tool in [found for name in KBUILD_TOOLS for found in tree.glob(name)]:
        program = tool.with_name(f"{tool.name}.program")
        if tool.suffix == ".program" or program.exists():
            continue
        tool.rename(program)
        command = f'exec "{loader}" --library-path "{libraries}" "{program.resolve()}" "$@"'
        tool.write_text(f"#!/bin/sh\n{command}\n")
        tool.chmod(0o755)
