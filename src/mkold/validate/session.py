"""One host validated: boot, steps on the real kernel, the same on mkold's systems, shrink.

The real kernel is asked once; each way of mkold's system is compared with what it said. Where
they differ the machine is still up, and the sequence is shrunk on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from mkold.base.errors import InputError
from mkold.mm.versions import version_of
from mkold.native import Image
from mkold.run.spec import MachineSpec
from mkold.validate.compare import Answers, Comparison, Difference, compared, perform_all
from mkold.validate.console import Line, booted
from mkold.validate.real import Real
from mkold.validate.rig.hosts import Host
from mkold.validate.rig.setup import Rig, find
from mkold.validate.script import Script
from mkold.validate.shrink import Shrinker
from mkold.validate.sides import RealSide, SystemSide, image_of, topics_of
from mkold.validate.step import Step
from mkold.validate.system import System, SystemSpec
from mkold.validate.vm import NESTED

Progress = Callable[[str], None]
LIE_AT = 0.5  # of the steps, where the module is told to lie


@dataclass(frozen=True, slots=True)
class Found:
    """A difference, and the shortest sequence that shows it."""

    difference: Difference
    script: Script


@dataclass(frozen=True, slots=True)
class WayResult:
    """One way of mkold's system against the kernel's answers."""

    system: str
    way: str
    comparison: Comparison
    found: Found | None
    seconds: float


@dataclass(slots=True)
class HostResult:
    """A host: what the kernel answered, and how each way compares."""

    host: str
    kernel: str
    recording: Script
    boot_s: float = 0.0
    real_s: float = 0.0
    ways: list[WayResult] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything did."""
        return any(way.comparison.differences for way in self.ways)


def system_spec(host: Host, kernel: str, way: str, release: str = "") -> SystemSpec:
    """mkold's system for a host and its kernel, of which ``release`` is running."""
    row = host.kernel(kernel)
    machine = MachineSpec(
        arch=host.arch, kernel=row.kernel, mm=version_of(release),
        page_size=row.page_size, mmu=host.mmu, nested=host.kind in NESTED,
    ).check()  # fmt: skip
    return SystemSpec(machine, way, tuple(host.parameters.items()))


def ways_of(host: Host, kernel: str, asked: str) -> tuple[str, ...]:
    """The ways to compare: the one asked for, or all that the kernel's variant has."""
    if asked:
        return (asked,)
    lockless = system_spec(host, kernel, "locked").machine.lockless
    return ("locked", "lockless") if lockless else ("locked",)


def rig_of(folder: Path, host: Host, kernel: str) -> Rig:
    """The rig of a host.

    Raises
    ------
    InputError : it is not set up; says the command
    """
    rig = find(folder, host, kernel)
    if rig is None:
        words = f"--host {host.name}" + (f" --kernel {kernel}" if kernel else "")
        raise InputError(
            f"{folder} has no {host.name} with this kernel, as this mkold builds it; "
            f"set it up: mkold validate {words} --setup {folder}"
        )
    return rig


def on_real(
    host: Host, rig: Rig, script: Script, ways: Sequence[str], tell: Progress, *,
    lie: bool = False,
) -> HostResult:  # fmt: skip
    """The script on the real kernel, then compared.

    Raises
    ------
    TroubleError : the machine does not do what it is told
    """
    tell(f"{host.name}: booting {rig.release}")
    began = time.monotonic()
    with booted(host, rig, running=script.vm.running) as line:
        boot_s = time.monotonic() - began
        began = time.monotonic()
        answers = _asked(
            line, script, partial(_tell_step, tell, host.name, len(script.steps)), lie
        )
        recording = replace(script, release=rig.release, answers=answers)
        result = HostResult(host.name, script.kernel, recording, boot_s)
        result.real_s = time.monotonic() - began
        again = None if lie else (lambda steps: _on_line(line, script, steps))
        _compare(host, result, ways, tell, again)
    return result


def on_recording(
    host: Host, recording: Script, ways: Sequence[str], tell: Progress
) -> HostResult:
    """Compare with what a recording says.

    Raises
    ------
    InputError : it says nothing
    """
    if recording.answers is None:
        raise InputError("the file has steps, but no answers of a kernel")
    result = HostResult(host.name, recording.kernel, recording)
    _compare(host, result, ways, tell, None)
    return result


def _tell_step(tell: Progress, name: str, n_steps: int, done: int) -> None:
    tell(f"{name}: the real kernel, step {done + 1} of {n_steps}")


def _asked(
    line: Line, script: Script, progress: Callable[[int], None], lie: bool
) -> tuple[Answers, ...]:
    real = Real(line, script.vm)
    lie_at = int(len(script.steps) * LIE_AT) if lie else -1

    def told(done: int) -> None:
        progress(done)
        if done == lie_at:
            real.lie()

    return tuple(perform_all(RealSide(real), script.steps, told))


def _on_line(line: Line, script: Script, steps: Sequence[Step]) -> Sequence[Answers]:
    return tuple(perform_all(RealSide(Real(line, script.vm)), steps))


def _compare(
    host: Host, result: HostResult, ways: Sequence[str], tell: Progress,
    again: Callable[[Sequence[Step]], Sequence[Answers]] | None,
) -> None:  # fmt: skip
    """Compare each way, and shrink what differs where the kernel can be asked again."""
    script = result.recording
    answers = script.answers or ()
    tell(f"{host.name}: building mkold's system")
    locked = system_spec(host, script.kernel, "locked", script.release)
    image = image_of(locked, topics_of(script.vm))
    for way in ways:
        spec = system_spec(host, script.kernel, way, script.release)
        began = time.monotonic()
        tell(f"{host.name}: mkold's system, {spec.name}")
        system = SystemSide(System(image, spec, script.vm), answers)
        comparison = compared(script.steps, answers, perform_all(system, script.steps))
        found = None
        if comparison.differences:
            first = comparison.differences[0]
            tell(f"{host.name}: they differ at step {first.at + 1}; making that shorter")
            found = _shrunk(script, image, spec, first, again)
        seconds = time.monotonic() - began
        result.ways.append(WayResult(spec.name, way, comparison, found, seconds))


def _shrunk(
    script: Script, image: Image, spec: SystemSpec, first: Difference,
    again: Callable[[Sequence[Step]], Sequence[Answers]] | None,
) -> Found:  # fmt: skip
    def differs(steps: Sequence[Step]) -> Difference | None:
        assert again is not None
        told = again(steps)
        system = SystemSide(System(image, spec, script.vm), told)
        here = compared(steps, told, perform_all(system, steps))
        return here.differences[0] if here.differences else None

    if again is None:
        upto = first.at + 1
        answers = script.answers[:upto] if script.answers else None
        return Found(first, replace(script, steps=script.steps[:upto], answers=answers))
    shrinker = Shrinker(differs)
    difference = shrinker.shrink(script.steps, first)
    steps = tuple(shrinker.steps)
    return Found(difference, replace(script, steps=steps, answers=tuple(again(steps))))
