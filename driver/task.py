"""A kernel on a target as a tuning task: measured by packing, checked against what it must compute.

``CodeTask`` is any kernel, ``KernelTask`` one of a model, held to the operator's evaluator. It is
rebuilt in workers from its payload: the kernel, the node it came from, the machine.
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.evaluate import evaluate_node
from ..graph.graph import Array, Graph, Node
from ..graph.kernels import Kernel, kernel_key
from ..graph.physical import pack, unpack
from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point, Space, key
from ..schedule.templates import template_for
from ..schedule.templates.template import FEATURES, Template
from ..target.cost import Cost, Work
from ..target.errors import SelectError
from ..target.program import Program
from ..target.protocol import Listing, Target
from ..tir.passes.lift import lift
from ..tir.passes.vectorize import VectorizeError
from ..tir.recent import Recent
from ..tir.stmt import PrimFunc
from ..tuner.task import COMPILE, INVALID, OK, Measured, Spec
from ..tuner.worker import perform
from .bounds import work
from .defaults import Pick, ranked
from .nest import nest
from .run import run_program

_BYTE = np.dtype(np.uint8)

Lifting = Callable[[PrimFunc], PrimFunc]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One kernel at one point."""

    point: Point
    program: Program
    listing: Listing
    cost: Cost


class KernelError(RuntimeError):
    """A kernel whose code contradicts its own contracts."""


class CodeTask(ABC):
    """A kernel that a template schedules for a machine: what tasks of any origin have in common."""

    machine: Target
    weight: int
    simulated: bool
    general = False  # whether templates for any kernel are asked, too, where others take it

    @property
    @abstractmethod
    def func(self) -> PrimFunc:
        """The kernel before it is lifted."""

    @property
    @abstractmethod
    def name(self) -> str: ...

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
    def work(self) -> Work:
        """The least work of every schedule."""

    @property
    @abstractmethod
    def spec(self) -> Spec: ...

    @property
    @abstractmethod
    def stored(self) -> list[Array]:
        """What a check finds in memory: an array for each parameter that is not constant."""

    @abstractmethod
    def difference(self, stored: Sequence[Array]) -> str:
        """How arrays that a run left differ from what the kernel must compute; "" if they do not.
        The run began with ``self.stored``."""

    @cached_property
    def bound(self) -> float:
        """Cycles that no schedule can beat: multiplying, loading and storing, or moving."""
        return float(self.machine.bound(self.work))

    def parts(self, spare: bool = False) -> Iterator[tuple[float, Callable[[], Space]]]:
        """The points on all threads, then on fewer: the bound there, and their space. Those of a
        ``spare`` template, if there is one, are for kernels whose other points have no code."""
        template: Template | None = self.template
        if spare and template is not None:
            template = template.spare() if template.spare else None
        if template is None:
            return
        space = template.space
        for threads, part in (template.parts or {self.machine.threads: lambda: space}).items():
            yield float(replace(self.machine, threads=threads).bound(self.work)), part

    @cached_property
    def key(self) -> str:
        return f"{kernel_key(self.func)}@{self.machine.name}"

    @cached_property
    def template(self) -> Template:
        return self.template_of(lift)

    def template_of(self, lifting: Lifting) -> Template:
        """The template for the lifted kernel in the TCM that other kernels' tensors leave."""
        machine = replace(self.machine, tcm=self.machine.tcm - self.held)
        return template_for(self.func, machine, lifting, self.general)

    @property
    def held(self) -> int:
        """Bytes of TCM that tensors of other kernels hold while this one runs."""
        return int(self.func.attrs.get("held", 0))

    @property
    def space(self) -> Space:
        """The points of the template in which the default is."""
        return self.template.of(vars(self).get("default", {})).space

    @cached_property
    def default(self) -> Point:
        """The best of a few points that the analytic model likes: what untuned users get."""
        pick = Pick(self.bound, ranked(self), partial(ranked, self, spare=True))
        while wave := pick.wave():
            pick.tell(wave, [perform(self, "measure", point, pick.nests) for point in wave])
        return pick.point

    def scheduled(self, point: Point) -> PrimFunc:
        """The scheduled kernel of a point; the last one is remembered for its program."""
        return _scheduled((id(self), key(point)), lambda: (self, self.template.apply(point)))[1]

    def nest(self, point: Point) -> str:
        try:
            return nest(self.scheduled(point))
        except (ScheduleError, VectorizeError, ValueError):
            return ""

    def program(self, point: Point) -> Program:
        """The selected code of a point; that of the last few is remembered for their check."""
        made = partial(_program, self, point)
        return _recent((id(self), key(point)), made)[1]

    def compiled(self, point: Point) -> Compiled:
        """The packed code of a point; raises what schedule, selection or packing refuse."""
        program = self.program(point)
        code = self.machine.code(program)
        found = Compiled(point, program, code.listing, code.cost)
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
        return self.compare(self.program(point))

    def compare(self, program: Program) -> tuple[bool, str]:
        """Compares as ``check`` does, but code that need not be of a point."""
        message = self.difference(run_program(program, self.stored))
        return not message, message

    @property
    def columns(self) -> tuple[str, ...]:
        return FEATURES

    def prior(self, point: Point) -> float:
        return max(self.template.estimate(point).cycles, 1.0)

    def features(self, point: Point) -> NDArray[np.float64]:
        return np.array(self.template.features(point, self.bound))


@dataclass
class KernelTask(CodeTask):
    """One distinct kernel of a model on one machine; ``node`` with its types and constants."""

    kernel: Kernel
    graph: Graph  # of one node: what ``kernel`` must compute
    machine: Target
    weight: int = 1
    simulated: bool = True

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

    @property
    def spec(self) -> Spec:
        payload = pickle.dumps((self.kernel, self.graph, self.machine, self.weight))
        return Spec("dovetail.driver.task:rebuild", payload)

    @cached_property
    def expected(self) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
        """Fixed inputs of the node, and the evaluator's bytes for them."""
        rng = np.random.default_rng(0)
        arrays = [fixed_input(rng, self.graph.types[name].shape) for name in self.kernel.inputs]
        values = dict(zip(self.kernel.inputs, arrays, strict=True))
        result = evaluate_node(self.graph, self.node, values)
        return arrays, np.asarray(result, np.uint8)

    @property
    def stored(self) -> list[Array]:
        """The inputs as images in memory, whose pads hold a byte on which no result may depend."""
        *inputs, output = [p for p in self.func.params if p.name not in self.func.constants]
        names, arrays = self.kernel.inputs, self.expected[0]
        images = [
            pack(array, self.graph.types[name].shape, 77).reshape(param.shape)
            for param, name, array in zip(inputs, names, arrays, strict=True)
        ]
        return [*images, np.zeros(output.shape, output.type.numpy)]

    def difference(self, stored: Sequence[Array]) -> str:
        shape = self.graph.types[self.kernel.output].shape
        return differing(unpack(stored[-1], shape), self.expected[1])


def differing(got: Array, wanted: Array) -> str:
    """How many elements of two arrays differ, and the first of them; "" if none does."""
    where = np.argwhere(got != wanted)
    if not len(where):
        return ""
    first = tuple(int(i) for i in where[0])
    return (
        f"{len(where)} of {wanted.size} bytes differ, the first at {first}: "
        f"{int(got[first])} instead of {int(wanted[first])}"
    )


def fixed_input(
    rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[Any] = _BYTE
) -> Array:
    """Random numbers with runs of both extremes; of wide integers, of all magnitudes."""
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind == "f":
        return rng.normal(0, 8, shape).astype(kind)
    limits = np.iinfo(kind)
    data = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    if kind.itemsize > 1:
        data >>= rng.integers(0, limits.bits, shape).astype(kind)
    mask = rng.random(shape)
    data[mask < 0.05] = limits.min
    data[mask > 0.95] = limits.max
    return data


def _program(task: CodeTask, point: Point) -> tuple[CodeTask, Program]:
    return task, task.machine.build(task.scheduled(point))


# By the task's identity, which is held: another one with the same key may have other constants.
_scheduled = Recent[tuple[CodeTask, PrimFunc]](2)
_recent = Recent[tuple[CodeTask, Program]](32)


def rebuild(payload: bytes) -> KernelTask:
    """A worker's copy of the task."""
    kernel, graph, machine, weight = pickle.loads(payload)
    return KernelTask(kernel, graph, machine, weight)


def check(task: CodeTask, compiled: Compiled) -> tuple[bool, str]:
    """Whether the code computes what the kernel must, and where it does not."""
    return task.compare(compiled.program)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
