"""Kernels as tuning tasks: what the tuner asks of one, by its compiler and its values.

task = KernelTask(kernel, graph, dsp())
task.measure(point).cycles, task.check(point)
"""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Graph, Node
from ..graph.kernels import Kernel, kernel_key
from ..schedule.knobs import Point, Space
from ..schedule.templates.template import FEATURES
from ..target.cost import Work
from ..target.protocol import Target
from ..tir.stmt import PrimFunc
from ..tuner.task import COMPILE, INVALID, OK, Measured, TaskSpec
from ..tuner.worker import perform
from .compiler import REFUSALS, UNFIT, Compiler
from .defaults import Pick, ranked
from .least_work import work
from .values import OperatorValues


class Tunable(Compiler):
    """A kernel's points: measured, and guessed before they are."""

    @property
    def space(self) -> Space:
        """The points of the template in which the default is."""
        return self.template.of(vars(self).get("default", {})).space

    def point(self, data: Mapping[str, object]) -> Point:
        """A point as logs and files spell it, of whichever template has it."""
        return self.template.of(data).space.point(data)

    @cached_property
    def default(self) -> Point:
        """The best of a few points that the analytic model likes: what untuned users get."""
        pick = Pick(self.bound, ranked(self), partial(ranked, self, spare=True))
        while wave := pick.wave():
            pick.tell(wave, [perform(self, "measure", point, pick.nests) for point in wave])
        return pick.point

    def measure(self, point: Point) -> Measured:
        start = perf_counter()
        try:
            found = self.compiled(point)
        except UNFIT as refused:
            return Measured(INVALID, message=_first_line(refused))
        except REFUSALS as refused:
            return Measured(COMPILE, message=_first_line(refused))
        return Measured(OK, found.cost.cycles, time={"compile": perf_counter() - start})

    @property
    def columns(self) -> tuple[str, ...]:
        return FEATURES

    def prior(self, point: Point) -> float:
        return max(self.template.estimate(point).cycles, 1.0)

    def features(self, point: Point) -> NDArray[np.float64]:
        return np.array(self.template.features(point, self.bound))


class CodeTask(Tunable):
    """A kernel of any origin as the tuner knows kernels (``tuner/task``)."""

    weight: int

    @property
    @abstractmethod
    def kind(self) -> str: ...

    @property
    @abstractmethod
    def form(self) -> Mapping[str, tuple[int, int]]: ...

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where the kernel comes from, for messages."""

    @property
    @abstractmethod
    def size(self) -> int:
        """A measure of its work: large kernels begin first."""

    @property
    @abstractmethod
    def spec(self) -> TaskSpec: ...

    @property
    def simulated(self) -> bool:
        return self.machine.simulated

    @cached_property
    def key(self) -> str:
        return f"{kernel_key(self.func)}@{self.machine.name}"


@dataclass
class KernelTask(CodeTask):
    """One distinct kernel of a model on one machine; ``node`` with its types and constants."""

    kernel: Kernel
    graph: Graph  # of one node: what ``kernel`` must compute
    machine: Target
    weight: int = 1

    @property
    def node(self) -> Node:
        return self.graph.nodes[0]

    @property
    def func(self) -> PrimFunc:
        return self.kernel.func

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def kind(self) -> str:
        return self.kernel.kind

    @property
    def form(self) -> Mapping[str, tuple[int, int]]:
        return self.kernel.bands

    @property
    def origin(self) -> str:
        return self.kernel.origin or "made by the compiler"

    @property
    def size(self) -> int:
        return self.kernel.macs

    @cached_property
    def work(self) -> Work:
        """The least products and bytes of every schedule."""
        return work(self.kernel, self.graph)

    @cached_property
    def values(self) -> OperatorValues:
        return OperatorValues(self.kernel, self.graph)

    @property
    def spec(self) -> TaskSpec:
        payload = pickle.dumps((self.kernel, self.graph, self.machine, self.weight))
        return TaskSpec("dovetail.driver.kernel_task:rebuild", payload)


def rebuild(payload: bytes) -> KernelTask:
    """A worker's copy of the task."""
    kernel, graph, machine, weight = pickle.loads(payload)
    return KernelTask(kernel, graph, machine, weight)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
