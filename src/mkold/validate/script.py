"""Steps as a file, and with them, in a recording, what a real kernel answered.

::

    host power9
    kernel 6.12
    release 6.12.95+deb12-powerpc64le
    pages 128

    guest-write 3-5,9
        young 8320...
    clear-young 0-127
        answer 8320...
        young 0000...

Words above the first empty line say where it is from; a line that begins with ``#`` is for
readers. Bitmaps are as ``pages`` writes them. What a recording does not say after a step is
what it said after the step before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from mkold.base.errors import InputError, Pos, SourceError
from mkold.base.files import read_text
from mkold.validate.compare import ANSWER, Answers
from mkold.validate.draw import read_step
from mkold.validate.pages import hex_bitmap, read_hex_bitmap
from mkold.validate.step import Step
from mkold.validate.topics import KINDS, topic_of
from mkold.validate.vm import HEAD, Vm, vm_of

_KEYS = ("host", "kernel", "release", *HEAD)


@dataclass(frozen=True, slots=True)
class Script:
    """Steps, and where they are from.

    Parameters
    ----------
    host, kernel : as on the command line
    release : the kernel's own name of its version; empty if none was asked
    vm : that they are done to
    steps : in order
    answers : of a recording, for each step; None of a script
    """

    host: str
    kernel: str
    vm: Vm
    steps: tuple[Step, ...]
    release: str = ""
    answers: tuple[Answers, ...] | None = None


def script_text(script: Script) -> str:
    """The file; ``read_script`` reads it."""
    head = {
        "host": script.host,
        "kernel": script.kernel,
        "release": script.release,
        **script.vm.head(),
    }
    lines = [f"{key} {value}" for key, value in head.items() if value]
    lines.append("")
    last: Answers = {}
    for at, step in enumerate(script.steps):
        lines.append(str(step))
        for kind, bits in (script.answers[at] if script.answers else {}).items():
            if kind == ANSWER or last.get(kind) != bits:
                lines.append(f"    {kind} {hex_bitmap(bits, script.vm.n_pages)}")
                last[kind] = bits
    return "\n".join(lines) + "\n"


def read_script(path: str | os.PathLike[str]) -> Script:
    """A script or a recording.

    Raises
    ------
    InputError : the file can't be read
    SourceError : a line is wrong, and which
    """
    text = read_text(path)
    reader = _Reader(os.fspath(path))
    for number, line in enumerate(text.split("\n"), 1):
        try:
            reader.take(line)
        except SourceError:
            raise
        except InputError as error:
            col = len(line) - len(line.lstrip()) + 1
            pos = Pos(reader.name, number, col, len(line) + 1)
            raise SourceError(str(error), pos, line, reader.hint) from error
    return reader.script()


class _Reader:
    """Line by line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hint = ""
        self._head: dict[str, str] = {}
        self._in_head = True
        self._steps: list[Step] = []
        self._answers: list[Answers] = []
        self._recorded = False

    def take(self, line: str) -> None:
        """The next line."""
        words = line.split()
        if line.startswith("#"):
            return
        if not words:
            self._in_head = self._in_head and not self._head
            return
        if self._in_head:
            self._take_head(words)
        elif line[0].isspace():
            self._take_answer(words)
        else:
            self.hint = ""
            self._steps.append(read_step(line))
            last = self._answers[-1] if self._answers else {}
            self._answers.append({kind: last[kind] for kind in last if kind != ANSWER})

    def _take_head(self, words: list[str]) -> None:
        self.hint = "an empty line ends the head; then steps begin"
        if len(words) != 2 or words[0] not in _KEYS:
            raise InputError(f"a line of the head is one of {', '.join(_KEYS)} and one word")
        self._head[words[0]] = words[1]
        if "pages" in self._head:
            vm_of(self._head)

    def _take_answer(self, words: list[str]) -> None:
        self.hint = "an answer is a name and a bitmap, below the step that gave it"
        if len(words) != 2 or not self._answers:
            raise InputError("no answer of a step")
        self._answers[-1][words[0]] = read_hex_bitmap(words[1])
        self._recorded = True

    def _vm(self) -> Vm:
        try:
            vm = vm_of(self._head)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        for step in self._steps:
            if vm.slots and KINDS[step.name].guest and step.pages & ~vm.slots:
                raise InputError(f"{self.name}: the guest has not all of these pages: {step}")
            if not topic_of(step.name, vm):
                raise InputError(f"{self.name}: this guest can't do a step: {step}")
            if step.pages >> vm.n_pages:
                raise InputError(f"{self.name} has {vm.n_pages} pages, and a step: {step}")
        return vm

    def script(self) -> Script:
        """What was read."""
        for key in ("host", "pages"):
            if key not in self._head:
                raise InputError(f"{self.name} does not say its {key}")
        return Script(
            host=self._head["host"],
            kernel=self._head.get("kernel", ""),
            release=self._head.get("release", ""),
            vm=self._vm(),
            steps=tuple(self._steps),
            answers=tuple(self._answers) if self._recorded else None,
        )
