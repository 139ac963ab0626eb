"""Debian's packages, downloaded and taken apart by an ordinary user; nothing is installed.

Rules
-----
* Two sources. ``tools``: what the system itself has, for programs that run here; what is
  installed already is not fetched. ``kernels``: Debian's archive for another architecture too.
* Lists, caches and files are all below one folder; the system's state is only read.
* An index can name files that are gone from the mirror. Then the index is fetched anew, once;
  who wants any of several versions then takes the next (``parts``).
* ``apt-get download`` checks what it fetched against the signed index.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mkold.base.errors import InputError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
SUITES = ("bookworm", "bookworm-updates", "bookworm-backports")
NEWEST_SUITES = ("sid",)
_URI = re.compile(r"'(?P<uri>\S+)' (?P<file>\S+) (?P<size>\d+)")
_TIMEOUT_S = 1800


class GoneError(InputError):
    """A package can't be had: the mirror has no such file (any more)."""


@dataclass(frozen=True, slots=True)
class File:
    """A package's file: its name, and its size in bytes."""

    package: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with lists and caches of its own below ``folder``; ``options`` are its ``-o``."""

    folder: Path
    options: tuple[str, ...] = ()

    def _run(self, program: str, *words: str, cwd: Path | None = None) -> tuple[int, str, str]:
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        options = (
            f"Dir::State::lists={self.folder / 'lists'}",
            f"Dir::Cache={self.folder / 'cache'}",
            "Dir::Cache::pkgcache=pkgcache.bin",
            "Dir::Cache::srcpkgcache=srcpkgcache.bin",
            "Acquire::Languages=none",
            "APT::Sandbox::User=",
            *self.options,
        )
        command = [program, *(word for option in options for word in ("-o", option)), *words]
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, cwd=cwd,
                timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL, env=os.environ | {"LC_ALL": "C"},
            )  # fmt: skip
        except FileNotFoundError:
            raise InputError(f"{program} is not here: the set-up needs Debian's apt") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"{program} took more than {_TIMEOUT_S} s") from None
        return ran.returncode, ran.stdout, ran.stderr

    def update(self) -> None:
        """Fetch the index anew; a source that fails is left as it was."""
        self._run("apt-get", "update", "-qq")

    def prepare(self) -> None:
        """Fetch the index, unless it was before."""
        lists = self.folder / "lists"
        if not any(lists.glob("*_Packages*")):
            self.update()

    def names(self, pattern: str) -> list[str]:
        """Packages whose name the pattern matches, the highest version first."""
        _code, text, _error = self._run("apt-cache", "search", "--names-only", pattern)
        found = {line.split()[0] for line in text.splitlines() if line.strip()}
        return sorted(found, key=_version_key, reverse=True)

    def missing(self, packages: list[str]) -> list[str]:
        """``packages`` and what they take, as far as it is not installed.

        Raises
        ------
        GoneError : apt knows no way to have them
        """
        words = ("install", "--no-install-recommends", "-s", "-qq", *packages)
        code, text, error = self._run("apt-get", *words)
        if code:
            raise GoneError(f"apt can't have {', '.join(packages)}: {_last(error)}")
        return [line.split()[1] for line in text.splitlines() if line.startswith("Inst ")]

    def files(self, packages: list[str]) -> list[File]:
        """What would be downloaded for ``packages``.

        Raises
        ------
        GoneError : apt knows no such package
        """
        if not packages:
            return []
        _code, text, error = self._run("apt-get", "download", "--print-uris", *packages)
        known = {match["file"].partition("_")[0]: match for match in _URI.finditer(text)}
        found = []
        for package in packages:
            match = known.get(package.partition(":")[0])
            if match is None:
                raise GoneError(f"apt knows no {package}: {_last(error)}")
            found.append(File(package, match["file"], int(match["size"])))
        return found

    def download(self, file: File, folder: Path) -> Path:
        """Fetch a package into ``folder``; where it is there already, it stays.

        Raises
        ------
        GoneError : the mirror does not have it, with a fresh index either
        """
        path = folder / file.name
        if path.exists() and path.stat().st_size == file.size:
            return path
        folder.mkdir(parents=True, exist_ok=True)
        code, _text, error = self._run("apt-get", "download", "-qq", file.package, cwd=folder)
        found = path if path.exists() else None
        if code or found is None:
            raise GoneError(f"{file.package} can't be had: {_last(error)}")
        return found


def tools(folder: Path) -> Apt:
    """The system's own sources, for programs that run here."""
    return Apt(folder / "apt" / "tools")


def kernels(folder: Path, debian_arch: str, *, newest: bool = False) -> Apt:
    """Debian's archive, for this machine's architecture and ``debian_arch``.

    Raises
    ------
    InputError : Debian's keys are not here
    """
    if not KEYRING.exists():
        raise InputError(f"{KEYRING} is not here: install the package debian-archive-keyring")
    own = folder / "apt" / (debian_arch + ("-newest" if newest else ""))
    own.mkdir(parents=True, exist_ok=True)
    both = ",".join(dict.fromkeys(("amd64", debian_arch)))
    mark = f"deb [arch={both} signed-by={KEYRING}]"
    mirror = system_mirror()
    lines = [f"{mark} {mirror} {suite} main" for suite in (NEWEST_SUITES if newest else SUITES)]
    if not newest:
        lines.append(f"{mark} {mirror.removesuffix('/')}-security bookworm-security main")
    (own / "sources.list").write_text("\n".join(lines) + "\n")
    (own / "status").touch()
    return Apt(
        own,
        (
            f"Dir::Etc::sourcelist={own / 'sources.list'}",
            "Dir::Etc::sourceparts=-",
            f"Dir::State::status={own / 'status'}",
            "APT::Architecture=amd64",
            f"APT::Architectures={both}",
        ),
    )


def system_mirror() -> str:
    """Where the system gets Debian from, or else Debian's own address."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for place in places:
        if place.is_file() and os.access(place, os.R_OK):
            text = place.read_text(errors="replace")
            found = re.search(r"^(?:deb|URIs:)\s.*?(https?://\S+/debian)/?(?:\s|$)", text, re.M)
            if found:
                return found[1]
    return MIRROR


def unpack(deb: Path, into: Path) -> None:
    """Take a package's files out of it.

    Raises
    ------
    InputError : it can't be read, or there is no room
    """
    into.mkdir(parents=True, exist_ok=True)
    words = ["dpkg-deb", "-x", str(deb), str(into)]
    try:
        ran = subprocess.run(
            words, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise InputError("dpkg-deb is not here: the set-up needs Debian's dpkg") from None
    if ran.returncode:
        raise InputError(f"can't unpack {deb.name}: {_last(ran.stderr)}")


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def _version_key(name: str) -> tuple[tuple[int, ...], str]:
    return tuple(int(part) for part in re.findall(r"\d+", name)), name
