"""A tuning task: one distinct kernel with its open decisions, and what a trial of it says.

The tuner knows kernels by this protocol alone. A task is rebuilt in worker processes from its
``spec``: the name of a module-level function and the bytes that it is called with.

    spec = Spec("dovetail.tuner.synthetic:rebuild", b'{"seed": 3}')
    rebuild(spec).measure(point)
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..schedule.knobs import Point, Space

OK, INVALID, COMPILE, TIMEOUT = "ok", "invalid", "compile", "timeout"
CRASH, INCORRECT = "crash", "incorrect"
DUPLICATE = "duplicate"  # no trial: its nest is that of an earlier one
MODEL = "model"  # the key of a model as a whole, whose decisions are searched like those of kernels
ESTIMATE = "cycles"  # the feature that is the estimate's logarithm to 2, but for a constant
STATUSES = (OK, INVALID, COMPILE, TIMEOUT, CRASH, INCORRECT, DUPLICATE)


class TuneError(RuntimeError):
    """A run of the tuner that cannot start or go on; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of one trial: cycles on a simulated target, seconds on a measured one, if ok."""

    status: str
    cycles: int | None = None
    message: str = ""
    time: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    nest: str = ""

    @property
    def cost(self) -> float | None:
        """The number that the search makes small; None unless the status is ok."""
        if self.status != OK:
            return None
        return self.seconds if self.cycles is None else self.cycles


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """How to build a task elsewhere: ``package.module:function`` and its one argument."""

    function: str
    payload: bytes

    @property
    def digest(self) -> str:
        """Names the spec in the memory of a worker."""
        return hashlib.sha256(self.function.encode() + b"\0" + self.payload).hexdigest()


class Tried(Protocol):
    """What a trial asks of a kernel; all members are pure."""

    def nest(self, point: Point) -> str:
        """Names the code of a point before it is measured: points of one name are one trial. Empty
        where there is none."""

    def measure(self, point: Point) -> Measured:
        """The cost of a point, or why it has none; on simulated targets without a clock."""

    def check(self, point: Point) -> tuple[bool, str]:
        """Whether the point computes the bytes of the operator's evaluator, and where not."""


class Task(Tried, Protocol):
    """A distinct kernel of a model, on a target; all members are pure."""

    @property
    def key(self) -> str:
        """Content hash of the kernel's form (its script with holes for numbers) and the target."""

    @property
    def form(self) -> Mapping[str, tuple[int, int]]:
        """The classes of the kernel's numbers, least and greatest value by name: what the key
        says of them, for people who ask why a key is another."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def space(self) -> Space: ...

    @property
    def default(self) -> Point:
        """The point an untuned model uses; always the first trial."""

    @property
    def weight(self) -> int:
        """How many times the kernel occurs in the model."""

    @property
    def bound(self) -> float:
        """A cost that no point can beat, in the unit of the cost."""

    @property
    def simulated(self) -> bool:
        """Whether measuring is exact and repeats; if not, every candidate is checked."""

    @property
    def spec(self) -> TaskSpec | None:
        """None for a task that is measured in this process."""

    def prior(self, point: Point) -> float:
        """An analytic guess of the cost, positive and cheap; lower is better."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features, ``ESTIMATE`` among them: what is learned of one task holds for
        those of equal names."""

    def features(self, point: Point) -> NDArray[np.float64]:
        """Numbers for the cost model, which mean the same for all tasks of these columns."""


def rebuild(spec: TaskSpec) -> Task:
    """The task that a spec describes."""
    module, _, function = spec.function.partition(":")
    built: Task = getattr(importlib.import_module(module), function)(spec.payload)
    return built
