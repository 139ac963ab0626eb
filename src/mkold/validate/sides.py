"""The two that perform steps: a real kernel and mkold's system, each as its topics say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from mkold.base.errors import InputError
from mkold.native import Image
from mkold.validate.compare import Answers
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import Edit, System, SystemSpec, system_image
from mkold.validate.topic import Topic
from mkold.validate.topics import TOPICS, topic_of
from mkold.validate.vm import Vm

Machine = TypeVar("Machine", Real, System)


def topics_of(vm: Vm) -> list[Topic]:
    """Those that a VM can have."""
    return [topic for topic in TOPICS if topic.fits(vm)]


def _topic(step: Step, vm: Vm) -> Topic:
    topic = topic_of(step.name, vm)
    if topic is None:
        raise InputError(f"this guest can't do a step: {step}")
    return topic


def _seen(
    side: Machine, looks: Iterable[Callable[[Machine], dict[str, int]] | None]
) -> dict[str, int]:
    return {kind: bits for look in looks if look for kind, bits in look(side).items()}


class RealSide:
    """``compare.Side`` of a real kernel."""

    def __init__(self, real: Real) -> None:
        self.real = real

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""
        answer = _topic(step, self.real.vm).real(self.real, step)
        for topic in topics_of(self.real.vm):
            if topic.real_after:
                topic.real_after(self.real)
        return answer

    def look(self) -> Mapping[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""
        return _seen(self.real, (topic.real_look for topic in topics_of(self.real.vm)))


class SystemSide:
    """``compare.Side`` of mkold's system.

    Parameters
    ----------
    system : that does the steps
    told : what a real kernel answered to each: for what hardware is free to choose
    """

    def __init__(self, system: System, told: Sequence[Answers] = ()) -> None:
        self.system, self._told, self._done = system, told, 0

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""
        told = self._told[self._done] if self._done < len(self._told) else {}
        self._done += 1
        topics = topics_of(self.system.vm)
        for topic in topics:
            if topic.before:
                topic.before(self.system, step, told)
        answer = _topic(step, self.system.vm).system(self.system, step)
        for topic in topics:
            if topic.after:
                topic.after(self.system, step, answer, told)
        return answer

    def look(self) -> Mapping[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""
        return _seen(self.system, (topic.system_look for topic in topics_of(self.system.vm)))


def image_of(spec: SystemSpec, topics: Sequence[Topic], *, edit: Edit | None = None) -> Image:
    """Machine code of a system that can do the steps of ``topics``."""
    entries = [entry for topic in topics for entry in topic.entries]
    own = tuple(item for topic in topics for item in topic.parameters.items())
    spec = replace(spec, changes=(*spec.changes, *own))
    return system_image(spec, list(dict.fromkeys(entries)), edit=edit)
