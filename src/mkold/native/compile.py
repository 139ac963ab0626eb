"""LLVM IR to object code, and object code into the process. The only user of llvmlite.

What LLVM may do to memory accesses is what their kind allows (see ``accesses``). The
optimisation level is 3, for this host's CPU; or 0, where building takes longer than running.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from dataclasses import dataclass
from typing import Any

from mkold.base.errors import MkoldError
from mkold.native import cache

# Part of every key: raise it when ``codegen`` changes in a way its text does not show.
LOWERING_VERSION = "1"
# Levels of optimisation: code that runs long, and code that is soon there.
FAST_CODE, FAST_BUILD = 3, 0
_LIBRARIES = itertools.count()


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@functools.cache
def target_triple() -> str:
    """The triple of this process, as LLVM names it."""
    return str(_llvm().get_process_triple())


@functools.cache
def _identity() -> str:
    """What else than the program decides the object code."""
    import llvmlite

    llvm = _llvm()
    version = ".".join(map(str, llvm.llvm_version_info))
    features = llvm.get_host_cpu_features().flatten()
    parts = [LOWERING_VERSION, llvmlite.__version__, version, target_triple()]
    return "\n".join([*parts, llvm.get_host_cpu_name(), features])


@functools.cache
def _machine(level: int) -> Any:
    llvm = _llvm()
    return llvm.Target.from_triple(target_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=level,
        reloc="pic",
        codemodel="default",
    )


@functools.cache
def _jit() -> Any:
    llvm = _llvm()
    llvm.check_jit_execution()
    return llvm.create_lljit_compiler()


def _optimised(text: str, level: int) -> Any:
    llvm = _llvm()
    machine = _machine(level)
    try:
        module = llvm.parse_assembly(text)
        module.triple = target_triple()
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise MkoldError(f"LLVM refuses the code made for it: {error}") from error
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def object_code(text: str, level: int) -> tuple[bytes, bool]:
    """Object code for LLVM IR, and whether it came from the cache."""
    key = cache.key_of(text, f"{_identity()}\n{level}")
    found = cache.load(key)
    if found is not None:
        return found, True
    code = bytes(_machine(level).emit_object(_optimised(text, level)))
    cache.store(key, code)
    return code, False


def assembly(text: str, level: int) -> str:
    """The machine code for LLVM IR, as text, for people and tests."""
    return str(_machine(level).emit_assembly(_optimised(text, level)))


@dataclass(frozen=True, slots=True)
class Library:
    """Object code in this process; ``tracker`` keeps it there."""

    tracker: Any
    addresses: dict[str, int]


def load(code: bytes, exported: list[str]) -> Library:
    """Link object code into the process; the addresses of ``exported`` symbols."""
    llvm = _llvm()
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    libc = ctypes.CDLL(None)
    sched_yield = ctypes.cast(libc.sched_yield, ctypes.c_void_p).value
    builder.import_symbol("mkold_yield", sched_yield)
    for name in exported:
        builder.export_symbol(name)
    tracker = builder.link(_jit(), f"mkold{next(_LIBRARIES)}")
    return Library(tracker, {name: int(tracker[name]) for name in exported})
