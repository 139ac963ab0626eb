"""Setting a host up: packages fetched, taken apart, agent and module built.

Below the folder: ``debs/`` what is being fetched, ``root/`` programs that run here,
``kernels/`` and ``headers/`` by release, ``hosts/HOST/KERNEL/`` what was built, and there
``ready.json``, written last. Whatever is there already is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mkold.base.errors import InputError
from mkold.base.output import write_file
from mkold.validate.rig.apt import GoneError, unpack
from mkold.validate.rig.build import build_agent, build_module, digest
from mkold.validate.rig.hosts import Host
from mkold.validate.rig.parts import (
    KERNEL_PARTS,
    Part,
    kernel_names,
    kernel_part,
    kernel_source,
    tool_part,
)

Tell = Callable[[str], None]
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rig:
    """A host that is set up with a kernel."""

    root: Path
    release: str
    image: Path
    modules: Path
    agent: Path
    module: Path


def _place(folder: Path, host: Host, kernel: str) -> Path:
    name = kernel or next(iter(host.kernels))
    return folder / "hosts" / host.name / name


def find(folder: Path, host: Host, kernel: str) -> Rig | None:
    """What was set up before, if it is all there."""
    try:
        text = (_place(folder, host, kernel) / "ready.json").read_text()
        paths = json.loads(text)
        release, sources = paths.pop("release"), paths.pop("sources")
        rig = Rig(release=release, **{key: folder / path for key, path in paths.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    wanted = (rig.image, rig.modules, rig.agent, rig.module)
    whole = sources == digest() and all(path.exists() for path in wanted)
    return rig if whole else None


def set_up(folder: Path, host: Host, kernel: str, tell: Tell) -> Rig:
    """Do what is not done yet; ``tell`` hears what and how large, before it is fetched.

    Raises
    ------
    InputError : something can't be had or built
    """
    found = find(folder, host, kernel)
    if found:
        return found
    folder = folder.absolute()
    place = _place(folder, host, kernel)
    place.mkdir(parents=True, exist_ok=True)
    tell(f"{host.name}: looking what is needed")
    root = folder / "root"
    if not (root / f".tools-{host.debian}").exists():
        tools = tool_part(folder, host)
        _fetch(folder, tools, f"{host.name}: QEMU and compiler", tell, lambda name: root)
        root.mkdir(exist_ok=True)
        (root / f".tools-{host.debian}").touch()
    release = _fetch_kernel(folder, host, kernel, tell)
    tell(f"{host.name}: building the agent and the module for {release}")
    headers = folder / "headers" / release
    agent = build_agent(host, root, place)
    module = build_module(host, release, headers, root, place)
    image, modules = _kernel_files(folder / "kernels" / release, host, release)
    rig = Rig(root, release, image, modules, agent, module)
    parts = ("root", "image", "modules", "agent", "module")
    body = {name: str(getattr(rig, name).relative_to(folder)) for name in parts}
    text = json.dumps(body | {"release": release, "sources": digest()}, indent=1)
    write_file(place / "ready.json", text, force=True)
    return rig


def _kernel_files(kernel: Path, host: Host, release: str) -> tuple[Path, Path]:
    """A kernel's image and the folder of its modules: packages differ in where."""
    modules = next(kernel / path for path in ("usr/lib/modules", "lib/modules")
                   if (kernel / path).is_dir())  # fmt: skip
    here = (modules / release / name for name in (host.image, "vmlinuz"))
    names = [*(kernel / "boot").glob(f"{host.image}-*"), *here]
    image = next((path for path in names if path.is_file()), None)
    if image is None:
        raise InputError(f"the package of {release} has no {host.image}")
    return image, modules


def _fetch_kernel(folder: Path, host: Host, kernel: str, tell: Tell) -> str:
    """The highest release that can be had; with a fresh index, if none can be with this."""
    row = host.kernel(kernel)
    source = kernel_source(folder, host, row)
    trouble: GoneError | None = None
    for fresh in (False, True):
        if fresh:
            tell(f"{host.name}: fetching the index anew ({trouble})")
            source.update()
        for release in kernel_names(source, host, row):
            try:
                part = kernel_part(source, host, release, newest=row.newest)
                _fetch(
                    folder, part, f"{host.name}: Linux {release}", tell, _sort(folder, release)
                )
            except GoneError as error:
                trouble = error
            else:
                return release
    assert trouble is not None
    raise trouble


def _sort(folder: Path, release: str) -> Callable[[str], Path]:
    def into(name: str) -> Path:
        image = name.startswith(("linux-image", *KERNEL_PARTS))
        kind = "kernels" if image else "headers"
        return folder / kind / release

    return into


def _fetch(
    folder: Path, part: Part, what: str, tell: Tell, into: Callable[[str], Path]
) -> None:
    """Fetch and take apart what was not before; a stamp a package tells."""
    missing = [file for file in part.files if not _stamp(into(file.name), file.name).exists()]
    if not missing:
        return
    size = sum(file.size for file in missing)
    tell(f"{what}: {len(missing)} packages, {size / MIB:.0f} MiB to download")
    fetched = [(file, part.source.download(file, folder / "debs")) for file in missing]
    for file, deb in fetched:
        unpack(deb, into(file.name))
        _stamp(into(file.name), file.name).touch()
        deb.unlink()


def _stamp(into: Path, name: str) -> Path:
    return into / f".{name}"
