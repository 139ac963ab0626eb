"""``mkold doctor``: what this machine offers, what each thing is for, what lacking it costs."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mkold import __version__
from mkold.base.errors import Exit
from mkold.cli.options import add_output_options, check_output, deliver

HELP = "Say what this machine offers, what each part is for, and what is missing."

SCHEMA = "mkold.doctor/1"
MIN_CORES = 2
MIN_MEMORY_MIB = 1024

_EPILOG = """\
examples:
  mkold doctor
  mkold doctor --json -o machine.json

Exit code 0 unless something essential is missing (then 3).
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing looked at.

    Parameters
    ----------
    name, value : what, and what was found
    state : "ok", "missing" (optional) or "needed" (essential and missing)
    use : what it is for
    cost : what its absence costs; empty when it is there
    """

    name: str
    value: str
    state: str
    use: str
    cost: str = ""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mkold doctor``."""
    parser.epilog = _EPILOG
    add_output_options(parser, json_schema=SCHEMA)


def run(args: argparse.Namespace) -> int:
    """Look at everything and print it."""
    check_output(args)
    entries = list(examine())
    needed = [entry for entry in entries if entry.state == "needed"]
    body = {
        "schema": SCHEMA,
        "mkold": __version__,
        "healthy": not needed,
        "findings": [asdict(entry) for entry in entries],
    }
    deliver(args, body, lambda: _text(entries))
    return Exit.BAD_INPUT if needed else Exit.HOLDS


def examine() -> Iterator[Entry]:
    """Everything, in the order of the report."""
    yield from _machine()
    yield from _software()
    yield _cache()
    yield from _tools()
    yield from _emulators()
    yield _kvm()


def _text(entries: list[Entry]) -> str:
    mark = {"ok": "  ", "missing": "- ", "needed": "! "}
    width = max(len(entry.name) for entry in entries)
    lines = [f"mkold {__version__}"]
    for entry in entries:
        lines.append(f"{mark[entry.state]}{entry.name:<{width}}  {entry.value}")
        indent = " " * (width + 4)
        lines.append(f"{indent}for {entry.use}")
        if entry.cost:
            lines.append(f"{indent}without it: {entry.cost}")
    n_missing = sum(entry.state == "missing" for entry in entries)
    n_needed = sum(entry.state == "needed" for entry in entries)
    lines.append("")
    lines.append(
        f"{n_needed} essential and {n_missing} optional things are missing"
        if n_needed or n_missing
        else "nothing is missing"
    )
    return "\n".join(lines)


def _machine() -> Iterator[Entry]:
    cores = len(os.sched_getaffinity(0))
    yield Entry(
        "cores",
        f"{cores} usable" + _quota(),
        "ok" if cores >= MIN_CORES else "missing",
        "`mkold run`: one thread per virtual CPU and one that ages",
        "" if cores >= MIN_CORES else "threads take turns, so contention isn't real",
    )
    yield Entry("processor", _cpu_name(), "ok", "reading timings: they are this machine's")
    total, available = _memory_mib()
    enough = available >= MIN_MEMORY_MIB
    yield Entry(
        "memory",
        f"{available:,} MiB available of {total:,}",
        "ok" if enough else "missing",
        "the guest's memory and page tables; the large benches take 1 GiB",
        "" if enough else "large guests and the large benches don't fit",
    )
    yield Entry(
        "pages",
        f"{os.sysconf('SC_PAGE_SIZE')} bytes, transparent huge pages {_thp()}",
        "ok",
        "scans of large tables: huge pages make them faster",
    )
    yield Entry(
        "system",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        "ok",
        "reports of problems",
    )


def _software() -> Iterator[Entry]:
    yield Entry("python", platform.python_version(), "ok", "everything; 3.11 or later")
    for module, package, use in (
        ("llvmlite.binding", "llvmlite", "compiling kernel Python"),
        ("numpy", "numpy", "traces and tables of numbers"),
        ("polars", "polars", "trace files"),
    ):
        yield _package(module, package, use)


def _package(module: str, package: str, use: str) -> Entry:
    try:
        loaded = importlib.import_module(module)
        version = importlib.metadata.version(package)
    except Exception as error:  # a broken shared library raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Entry(package, "does not load", "needed", use, reason[:160])
    if package == "llvmlite":
        version += f", LLVM {'.'.join(str(part) for part in loaded.llvm_version_info)}"
    return Entry(package, version, "ok", use)


def _cache() -> Entry:
    use = "compiled code, so that a second run starts at once"
    try:
        from mkold.native.cache import directory
    except Exception as error:  # llvmlite itself is reported above
        return Entry("compile cache", "unknown", "missing", use, str(error)[:160])
    folder = directory()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        cost = "every run compiles anew; set MKOLD_CACHE_DIR to a writable folder"
        return Entry("compile cache", f"{folder} is not writable", "missing", use, cost)
    files = [entry for entry in folder.rglob("*") if entry.is_file()]
    size = sum(entry.stat().st_size for entry in files)
    shown = f"{folder}, {len(files)} files, {size / 2**20:.1f} MiB"
    return Entry("compile cache", shown, "ok", use)


_OPTIONAL: tuple[tuple[str, list[str], str, str], ...] = (
    (
        "valgrind",
        ["--version"],
        "`mkold record`: new traces",
        "only shipped and imported traces (Debian: apt install valgrind)",
    ),
    (
        "herd7",
        ["-version"],
        "comparing `mkold litmus` with the reference tool",
        "nothing that mkold does by itself (opam install herdtools7)",
    ),
    (
        "gcc",
        ["--version"],
        "the C loop in the scan benchmark",
        "the benchmark leaves the C column out (Debian: apt install gcc)",
    ),
)


def _tools() -> Iterator[Entry]:
    for name, arguments, use, cost in _OPTIONAL:
        path = shutil.which(name)
        if path is None:
            yield Entry(name, "not found", "missing", use, cost)
        else:
            yield Entry(name, _first_line([path, *arguments]), "ok", use)


def _emulators() -> Iterator[Entry]:
    """QEMU, by the architectures that ``mkold validate`` emulates."""
    use = "`mkold validate`: real Linux KVM to compare with"
    for name in ("qemu-system-x86_64", "qemu-system-ppc64", "qemu-system-aarch64"):
        path = shutil.which(name)
        if path is None:
            cost = "mkold validate --setup DIR fetches it into DIR"
            yield Entry(name, "not found", "missing", use, cost)
        else:
            yield Entry(name, _first_line([path, "--version"]), "ok", use)


def _kvm() -> Entry:
    use = "comparing with a real kernel by hand; mkold itself never opens it"
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Entry("/dev/kvm", "usable", "ok", use)
    state = "there, but not accessible" if os.path.exists("/dev/kvm") else "not there"
    return Entry("/dev/kvm", state, "missing", use, "nothing that mkold does by itself")


def _first_line(command: list[str]) -> str:
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=20, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} (does not run: {type(error).__name__})"
    lines = (run.stdout + run.stderr).strip().splitlines()
    return f"{lines[0] if lines else '?'} ({command[0]})"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _cpu_name() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine() or "unknown"


def _quota() -> str:
    """The limit of a container on processor time, where there is one."""
    words = _read("/sys/fs/cgroup/cpu.max").split()
    if len(words) != 2 or words[0] == "max":
        return ""
    return f", limited to {int(words[0]) / int(words[1]):.1f}"


def _memory_mib() -> tuple[int, int]:
    """Total and available memory, within the container's limit."""
    values = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) >> 10
    total, available = values.get("MemTotal", 0), values.get("MemAvailable", 0)
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    if limit.isdigit():
        used = _read("/sys/fs/cgroup/memory.current").strip()
        left = (int(limit) - int(used if used.isdigit() else 0)) >> 20
        total, available = min(total, int(limit) >> 20), min(available, left)
    return total, available


def _thp() -> str:
    text = _read("/sys/kernel/mm/transparent_hugepage/enabled")
    return text.partition("[")[2].partition("]")[0] or "unknown"
