"""The two that perform steps: a real kernel and mkold's system, each as its topics say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mkold.native import Image
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import Edit, System, SystemSpec, system_image
from mkold.validate.topic import Topic
from mkold.validate.topics import TOPIC_OF, TOPICS
from mkold.validate.vm import Vm


def topics_of(vm: Vm) -> list[Topic]:
    """Those that a VM can have."""
    return [topic for topic in TOPICS if topic.fits(vm)]


class RealSide:
    """``compare.Side`` of a real kernel."""

    def __init__(self, real: Real) -> None:
        self.real = real

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""
        return TOPIC_OF[step.name].real(self.real, step)

    def look(self) -> Mapping[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""
        looks = [topic.real_look for topic in topics_of(self.real.vm) if topic.real_look]
        return {kind: bits for look in looks for kind, bits in look(self.real).items()}


class SystemSide:
    """``compare.Side`` of mkold's system."""

    def __init__(self, system: System) -> None:
        self.system = system

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""
        return TOPIC_OF[step.name].system(self.system, step)

    def look(self) -> Mapping[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""
        looks = [topic.system_look for topic in topics_of(self.system.vm) if topic.system_look]
        return {kind: bits for look in looks for kind, bits in look(self.system).items()}


def image_of(spec: SystemSpec, topics: Sequence[Topic], *, edit: Edit | None = None) -> Image:
    """Machine code of a system that can do the steps of ``topics``."""
    entries = [entry for topic in topics for entry in topic.entries]
    own = tuple(item for topic in topics for item in topic.parameters.items())
    spec = replace(spec, changes=(*spec.changes, *own))
    return system_image(spec, list(dict.fromkeys(entries)), edit=edit)
