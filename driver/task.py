"""A dsp kernel as a tuning task: measured by packing, checked against the operator's evaluator.

The task is rebuilt in workers from its payload: the kernel, the node it came from, the machine.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from random import Random
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ..graph.evaluate import evaluate_node
from ..graph.graph import Graph, Node
from ..graph.kernels import Kernel
from ..graph.physical import pack, unpack
from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point, Space, key
from ..schedule.templates import template_for
from ..schedule.templates.template import Template
from ..target.dsp.bound import Work, bound
from ..target.dsp.compile import compile_program
from ..target.dsp.cycles import Cost, cost
from ..target.dsp.listing import Listing
from ..target.dsp.machine import Machine
from ..target.dsp.pipeline import build
from ..target.errors import SelectError
from ..target.program import Program
from ..target.recent import Recent
from ..tir.passes.vectorize import VectorizeError
from ..tuner.task import COMPILE, INVALID, OK, Measured, Spec
from .bounds import work

DEFAULT_PACKED = 8  # points that the choice of a default may pack
_SAMPLED = 400  # points that the analytic model ranks for it
_PATIENCE = 3  # points in a row that are no better


@dataclass(frozen=True, slots=True)
class Compiled:
    """One kernel at one point."""

    point: Point
    program: Program
    listing: Listing
    cost: Cost


class KernelError(RuntimeError):
    """A kernel whose code contradicts its own contracts."""


@dataclass
class KernelTask:
    """One distinct kernel of a model on one machine; ``node`` with its types and constants."""

    kernel: Kernel
    graph: Graph  # of one node: what ``kernel`` must compute
    machine: Machine
    weight: int = 1
    simulated: bool = True

    @property
    def node(self) -> Node:
        return self.graph.nodes[0]

    @cached_property
    def key(self) -> str:
        return f"{self.kernel.key}@{self.machine.name}"

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def form(self) -> Mapping[str, tuple[int, int]]:
        return self.kernel.bands

    @property
    def kind(self) -> str:
        return self.kernel.kind

    @cached_property
    def template(self) -> Template:
        """The template for the TCM that other kernels' tensors leave."""
        machine = replace(self.machine, tcm=self.machine.tcm - self.held)
        return template_for(self.kernel.func, machine)

    @property
    def held(self) -> int:
        """Bytes of TCM that tensors of other kernels hold while this one runs."""
        return int(self.kernel.func.attrs.get("held", 0))

    @property
    def space(self) -> Space:
        return self.template.space

    @cached_property
    def work(self) -> Work:
        """The least products and bytes of every schedule."""
        return work(self.kernel, self.graph)

    @cached_property
    def bound(self) -> float:
        """Cycles that no schedule can beat: multiplying, loading and storing, or moving."""
        return float(bound(self.work, self.machine))

    @cached_property
    def default(self) -> Point:
        """The best of a few points that the analytic model likes: what untuned users get."""
        return choose_default(self)

    @property
    def spec(self) -> Spec:
        payload = pickle.dumps((self.kernel, self.graph, self.machine, self.weight))
        return Spec("dovetail.driver.task:rebuild", payload)

    def program(self, point: Point) -> Program:
        """The selected code of a point; that of the last few is remembered for their check."""
        made = partial(_program, self, point)
        return _recent((id(self), key(point)), made)[1]

    def compiled(self, point: Point) -> Compiled:
        """The packed code of a point; raises what schedule, selection or packing refuse."""
        program = self.program(point)
        listing = compile_program(program, self.machine)
        found = Compiled(point, program, listing, cost(listing))
        if found.cost.tcm > self.machine.tcm - self.held:
            raise ScheduleError(
                f"place: a kernel's buffers must fit into TCM ({self.machine.tcm} bytes, of which "
                f"others hold {self.held}), but they take {found.cost.tcm}"
            )
        if found.cost.cycles < self.bound:
            raise KernelError(
                f"{self.name}: a cost must not be below its bound ({self.bound:.0f}), "
                f"but got {found.cost.cycles}"
            )
        return found

    def measure(self, point: Point) -> Measured:
        start = perf_counter()
        try:
            found = self.compiled(point)
        except (ScheduleError, VectorizeError) as refused:
            return Measured(INVALID, message=_first_line(refused))
        except (SelectError, ValueError) as refused:
            return Measured(COMPILE, message=_first_line(refused))
        return Measured(OK, found.cost.cycles, time={"compile": perf_counter() - start})

    def check(self, point: Point) -> tuple[bool, str]:
        """Runs the point's code on fixed inputs, extremes among them, and compares the bytes."""
        return compare(self, self.program(point))

    def prior(self, point: Point) -> float:
        return max(self.template.estimate(point).cycles, 1.0)

    def features(self, point: Point) -> NDArray[np.float64]:
        return np.array(self.template.features(point))

    @cached_property
    def expected(self) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
        """Fixed inputs of the node, and the evaluator's bytes for them."""
        rng = np.random.default_rng(0)
        arrays = [fixed_input(rng, self.graph.types[name].shape) for name in self.kernel.inputs]
        values = dict(zip(self.kernel.inputs, arrays, strict=True))
        result = evaluate_node(self.graph, self.node, values)
        return arrays, np.asarray(result, np.uint8)


def fixed_input(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Random bytes with runs of both extremes."""
    data = rng.integers(0, 256, shape, np.uint8)
    mask = rng.random(shape)
    data[mask < 0.05] = 0
    data[mask > 0.95] = 255
    return data


def _program(task: KernelTask, point: Point) -> tuple[KernelTask, Program]:
    return task, build(task.template.apply(point), task.machine)


# By the task's identity, which is held: another one with the same key may have other constants.
_recent = Recent[tuple[KernelTask, Program]](24)


def rebuild(payload: bytes) -> KernelTask:
    """A worker's copy of the task."""
    kernel, graph, machine, weight = pickle.loads(payload)
    return KernelTask(kernel, graph, machine, weight)


def check(task: KernelTask, compiled: Compiled) -> tuple[bool, str]:
    """Whether the code gives the evaluator's bytes, and where it does not."""
    return compare(task, compiled.program)


def compare(task: KernelTask, program: Program) -> tuple[bool, str]:
    """Compares as ``check`` does, but code that is not packed."""
    from .run import run_program

    arrays, wanted = task.expected
    shapes = [task.graph.types[name].shape for name in task.kernel.inputs]
    stored = [pack(a, s, 77) for a, s in zip(arrays, shapes, strict=True)]
    shape = task.graph.types[task.kernel.output].shape
    got = unpack(run_program(program, task.kernel, stored), shape)
    if np.array_equal(got, wanted):
        return True, ""
    where = np.argwhere(got != wanted)
    first = tuple(int(i) for i in where[0])
    return False, (
        f"{len(where)} of {wanted.size} bytes differ, the first at {first}: "
        f"{int(got[first])} instead of {int(wanted[first])}"
    )


def choose_default(task: KernelTask) -> Point:
    """Ranks sampled points by the analytic model, packs the best few, and takes the cheapest.

    Of points that the model cannot tell apart one is packed. Only where none of the few has code
    are more of them tried.
    """
    rng = Random(0)
    points = sorted(_distinct(task.space, rng), key=task.prior)
    leaders = list({task.prior(point): point for point in reversed(points)}.values())[::-1]
    best: tuple[float, Point] | None = None
    refusal, idle = "its space is empty", 0
    for number, point in enumerate([*leaders, *points]):
        if best is not None and (number >= DEFAULT_PACKED or idle >= _PATIENCE):
            break
        found = task.measure(point)
        if found.cycles is None:
            refusal = found.message
            continue
        better = best is None or found.cycles < best[0]
        best, idle = (found.cycles, point) if better else best, 0 if better else idle + 1
    if best is None:
        raise SelectError(f"no schedule of its {len(points)} that were tried works: {refusal}")
    return best[1]


def _distinct(space: Space, rng: Random) -> list[Point]:
    """All points of a small space, or a sample."""
    every = space.every(_SAMPLED)
    if every is not None:
        return every
    found: dict[str, Point] = {}
    for _ in range(_SAMPLED):
        point = space.sample(rng)
        found.setdefault(key(point), point)
    return list(found.values())


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
