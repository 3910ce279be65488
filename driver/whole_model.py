"""A whole model as a tuning task: a point says which of its points each kernel has in it, where
that is not the default one, and what the model decides beside. A trial is a walk of its program.

    model = WholeModel(ready, defaults, program, measurer)
    model.measure(spelled({}, Decisions(carrier=3))).cycles
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point, Space, key
from ..tuner.measure import Measurer
from ..tuner.task import MODEL, OK, Measured
from .choose import Choice, Chooser, Chosen
from .compiler import KernelError
from .decisions import Decisions
from .kernel_code import KernelCode
from .kernel_task import KernelTask
from .model_bound import model_bound
from .model_program import ArrangedModel, ModelParts, ModelProgram
from .prepare import Ready

KERNELS = "kernels"  # of a point: theirs, by key


@dataclass(frozen=True)
class ModelSpace(Space):
    """Points of a model; those of its kernels are of their own spaces."""

    tasks: tuple[KernelTask, ...] = ()

    def point(self, data: Mapping[str, object]) -> Point:
        """ScheduleError where the model or a kernel has no such point."""
        kernels, decisions = parted(data)
        tasks = {task.key: task for task in self.tasks}
        if unknown := sorted(kernels.keys() - tasks.keys()):
            raise ScheduleError(f"point: kernels must be of the model, but got {unknown[0]}")
        return spelled({name: tasks[name].point(own) for name, own in kernels.items()}, decisions)


def spelled(kernels: Mapping[str, Point], decisions: Decisions) -> Point:
    """The point of a model; ``kernels`` are those that are not at their defaults."""
    point: dict[str, Any] = {KERNELS: dict(sorted(kernels.items())), **decisions.spelled()}
    return point


def parted(point: Mapping[str, Any]) -> tuple[dict[str, Point], Decisions]:
    """The kernels' points, and what the model decides beside."""
    try:
        rest = {name: value for name, value in point.items() if name != KERNELS}
        return dict(point[KERNELS]), Decisions.read(rest)
    except (KeyError, TypeError, ValueError):
        raise ScheduleError(f"point: must be one of a model, but got {key(point)}") from None


class WholeModel:
    """A model whose kernels are at ``defaults``, with their program. All other points of kernels
    are compiled and checked by ``measurer``; programs are walked in this process."""

    key = name = kind = MODEL
    weight, simulated, spec = 1, True, None
    columns: tuple[str, ...] = ()

    def __init__(
        self,
        ready: Ready,
        defaults: Mapping[str, Choice],
        program: ModelProgram,
        measurer: Measurer,
    ) -> None:
        self.ready, self.defaults, self.measurer = ready, defaults, measurer
        self.start = program
        self.tasks = {task.key: task for task in ready.tasks}
        self.default = spelled({}, program.decisions)
        self.space = ModelSpace((), (), tuple(ready.tasks))
        self._parts = ModelParts(ready)
        self._choices = {(name, key(one.point)): one for name, one in defaults.items()}
        self._codes: dict[tuple[str, str], KernelCode] = {}
        self._right: set[tuple[str, str]] = set()  # points that were checked

    @property
    def form(self) -> Mapping[str, tuple[int, int]]:
        return {}

    @cached_property
    def bound(self) -> float:
        return float(model_bound(self.ready))

    def prior(self, point: Point) -> float:
        return float(self.start.cycles)

    def features(self, point: Point) -> NDArray[np.float64]:
        return np.zeros(0)

    def nest(self, point: Point) -> str:
        return ""

    def measure(self, point: Point) -> Measured:
        return Measured(OK, self.arranged(point).cycles)

    def check(self, point: Point) -> tuple[bool, str]:
        """Whether all kernels give the right bytes at the points that they have in it."""
        for name, choice in self.choices(point).items():
            one = name, key(choice.point)
            if one not in self._right:
                chooser = Chooser(self.tasks[name])
                found = self.measurer.run(chooser, "check", [choice.point])[0]
                if found.status != OK:
                    return False, f"{self.tasks[name].name}: {found.message}"
                self._right.add(one)
        return True, ""

    def arranged(self, point: Point) -> ArrangedModel:
        """The model's phases at a point."""
        codes = {name: self._code(name, choice) for name, choice in self.choices(point).items()}
        runs = [codes[task.key] for task in self.ready.kernels]
        return ArrangedModel(self._parts, runs, parted(point)[1])

    def choices(self, point: Point) -> dict[str, Choice]:
        """Each kernel's point in a point of the model."""
        kernels, _ = parted(point)
        return {**self.defaults, **{name: self._choice(name, own) for name, own in kernels.items()}}

    def know(self, name: str, choice: Choice) -> None:
        """A point of a kernel has this code."""
        self._choices.setdefault((name, key(choice.point)), choice)

    def _choice(self, name: str, point: Point) -> Choice:
        known = self._choices.get((name, key(point)))
        if known is None:
            found = self.measurer.run(Chooser(self.tasks[name]), "measure", [point])[0]
            if not isinstance(found, Chosen) or found.choice is None:
                raise KernelError(f"{self.tasks[name].name}: no code at {key(point)}")
            known = self._choices[name, key(point)] = found.choice
        return known

    def _code(self, name: str, choice: Choice) -> KernelCode:
        one = name, key(choice.point)
        if one not in self._codes:
            self._codes[one] = choice.read(self.tasks[name])
        return self._codes[one]
