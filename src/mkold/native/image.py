"""Built functions, called on a memory.

A call releases the interpreter's lock, so threads of Python run native code side by side.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterable, Mapping

from mkold.base.errors import InputError
from mkold.ir.boot import MAX_CPUS
from mkold.ir.definition import Definition
from mkold.ir.edit import bind
from mkold.ir.link import link
from mkold.ir.module import Module, collect
from mkold.ir.nodes import Function
from mkold.ir.verify import verify
from mkold.native import compile
from mkold.native.diagnostics import (
    Finding,
    KernelBugError,
    StoppedError,
    diagnose,
    warned,
)
from mkold.native.llvm import codegen
from mkold.native.llvm.sites import Status
from mkold.native.memory import Memory

# Given the functions and the value of each build parameter.
Edit = Callable[[Mapping[str, Function], Mapping[str, int]], Mapping[str, Function]]
_WORD_MASK = (1 << 64) - 1


class Image:
    """Functions compiled for this host; those ``trusted`` without the checks of ``checked``.

    Attributes
    ----------
    functions : the intermediate form of all that is in it, linked and bound
    parameters : the value of each build parameter that it uses
    sites : every place that can fail
    llvm : the LLVM IR
    cached : whether the object code came from the disk
    """

    def __init__(
        self,
        functions: dict[str, Function],
        exported: list[str],
        *,
        checked: bool,
        trusted: Collection[str] = (),
        parameters: Mapping[str, int] | None = None,
        optimised: bool = True,
    ) -> None:
        self.functions = functions
        self.parameters = parameters or {}
        self.checked = checked
        triple = compile.target_triple()
        self.llvm, self.sites = codegen.module_text(
            functions, exported, triple, checked=checked, trusted=trusted
        )
        self._level = compile.FAST_CODE if optimised else compile.FAST_BUILD
        code, self.cached = compile.object_code(self.llvm, self._level)
        symbols = [f"entry.{name}" for name in exported]
        self._library = compile.load(code, symbols)
        self._entries: dict[str, Callable[..., int]] = {}
        for name in exported:
            n_args = len(functions[name].params)
            words = [ctypes.c_uint64] * (n_args + 1)
            prototype = ctypes.CFUNCTYPE(
                ctypes.c_uint64, ctypes.c_void_p, *words, ctypes.c_void_p
            )
            self._entries[name] = prototype(self._library.addresses[f"entry.{name}"])

    def entry(self, name: str) -> Callable[..., int]:
        """The raw entry: ``status = f(memory.base, cpu, *args, results)``.

        ``results`` is the address of as many words as the function returns (or
        ``None``), ``status`` a ``diagnostics.Status``. Words are not checked.

        Raises
        ------
        InputError : the image has no such entry
        """
        try:
            return self._entries[name]
        except KeyError:
            raise InputError(f"the image has no function {name}") from None

    def call(
        self, name: str, memory: Memory, cpu: int, *args: int
    ) -> int | tuple[int, ...] | None:
        """Run a function on ``memory`` as CPU number ``cpu``.

        Returns
        -------
        its result; a tuple if it has several; ``None`` if it has none

        Raises
        ------
        KernelBugError : BUG_ON or a check failed, here or in another thread before
        StoppedError : the stop word is set
        InputError : no such function, wrong number of arguments, or no such CPU
        """
        entry = self.entry(name)
        function = self.functions[name]
        if len(args) != len(function.params):
            n = len(function.params)
            raise InputError(f"{name} takes {n} words, not {len(args)}")
        if not 0 <= cpu < MAX_CPUS:
            raise InputError(f"CPUs are 0 to {MAX_CPUS - 1}, not {cpu}")
        results = (ctypes.c_uint64 * max(1, function.n_results))()
        words = [int(arg) & _WORD_MASK for arg in args]
        status = entry(memory.base, cpu, *words, ctypes.addressof(results))
        if status != Status.OK:
            self.raise_for(memory)
        if function.n_results == 0:
            return None
        return results[0] if function.n_results == 1 else tuple(results)

    def raise_for(self, memory: Memory) -> None:
        """Raise what ended native code on ``memory`` early."""
        finding = self.diagnose(memory)
        if finding is not None:
            raise KernelBugError(finding)
        raise StoppedError

    def diagnose(self, memory: Memory) -> Finding | None:
        """The first bug that was recorded, if any."""
        return diagnose(memory, self.sites)

    def warned(self, memory: Memory) -> Finding | None:
        """The first warning that was recorded, if any."""
        return warned(memory, self.sites)

    def assembly(self) -> str:
        """The machine code as text."""
        return compile.assembly(self.llvm, self._level)


def build(
    definitions: Iterable[Definition],
    params: Mapping[str, int] | None = None,
    *,
    hooks: Mapping[str, Definition] | None = None,
    checked: bool = False,
    optimised: bool = True,
    edit: Edit | None = None,
) -> Image:
    """Compile ``definitions`` and all they call; the ones named can be called.

    Parameters
    ----------
    definitions : the entries; two that share a name are called ``module.function``
    params : build parameters that differ from their defaults
    hooks : what each hook that is called stands for, by name
    checked : test every address, and every word read for POISON
    optimised : whether the code should run fast, or be built fast
    edit : a change to the functions before locks and RCU are linked in (a variant)

    Raises
    ------
    InputError : a parameter that nothing here uses; what ``ir.module.collect`` refuses
    """
    roots = list(definitions)
    given = params or {}

    def edited(module: Module) -> Mapping[str, Function]:
        assert edit is not None
        return edit(module.functions, module.values(given))

    module, functions = link(collect(roots, hooks=hooks), edited if edit else None)
    values = module.values(given)
    bound = bind(functions, values)
    verify(bound)
    exported = [module.name_of(definition) for definition in roots]
    names = list(dict.fromkeys(exported))
    return Image(bound, names, checked=checked, parameters=values, optimised=optimised)
