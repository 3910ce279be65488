"""A kernel's way to code on a target: at a point it is placed, scheduled, selected and packed.

compiler.compiled(point).cost.cycles
compiler.program(point)                  # the selected code, which runs anywhere
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point, Space, key
from ..schedule.templates import template_for
from ..schedule.templates.template import Template
from ..target.cost import Cost, Work
from ..target.errors import SelectError
from ..target.program import Program
from ..target.protocol import Listing, Target
from ..tir.passes.lift import lift
from ..tir.passes.vectorize import VectorizeError
from ..tir.recent import Recent
from ..tir.stmt import PrimFunc
from .nest_name import nest
from .run_program import run_program
from .values import Values

Lifting = Callable[[PrimFunc], PrimFunc]

# What schedule, selection and packing refuse points with; the first two are no points of the space.
UNFIT = (ScheduleError, VectorizeError)
REFUSALS = (*UNFIT, SelectError, ValueError)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One kernel at one point."""

    point: Point
    program: Program
    listing: Listing
    cost: Cost


class KernelError(RuntimeError):
    """A kernel whose code contradicts its own contracts."""


class Compiler(ABC):
    """Makes code of one kernel for a machine, by the template that takes it."""

    machine: Target
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
    def work(self) -> Work:
        """The least work of every schedule."""

    @property
    @abstractmethod
    def values(self) -> Values:
        """What the code must compute."""

    @cached_property
    def bound(self) -> float:
        """Cycles that no schedule can beat: multiplying, loading and storing, or moving."""
        return float(self.machine.bound(self.work))

    @property
    def held(self) -> int:
        """Bytes of TCM that tensors of other kernels hold while this one runs."""
        return int(self.func.attrs.get("held", 0))

    @cached_property
    def template(self) -> Template:
        return self.template_of(lift)

    def template_of(self, lifting: Lifting) -> Template:
        """The template for the lifted kernel in the TCM that other kernels' tensors leave."""
        machine = replace(self.machine, tcm=self.machine.tcm - self.held)
        return template_for(self.func, machine, lifting, self.general)

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

    def scheduled(self, point: Point) -> PrimFunc:
        """The scheduled kernel of a point; the last one is remembered for its program."""
        return _scheduled((id(self), key(point)), lambda: (self, self.template.apply(point)))[1]

    def nest(self, point: Point) -> str:
        try:
            return nest(self.scheduled(point))
        except (*UNFIT, ValueError):
            return ""

    def program(self, point: Point) -> Program:
        """The selected code of a point; that of the last few is remembered for their check."""
        made = partial(_program, self, point)
        return _programs((id(self), key(point)), made)[1]

    def compiled(self, point: Point) -> Compiled:
        """The packed code of a point; raises what schedule, selection or packing refuse."""
        program = self.program(point)
        code = self.machine.code(program)
        if code.cost.tcm > self.machine.tcm - self.held:
            raise ScheduleError(
                f"place: a kernel's buffers must fit into TCM ({self.machine.tcm} bytes, of which "
                f"others hold {self.held}), but they take {code.cost.tcm}"
            )
        if code.cost.cycles < self.bound:
            raise KernelError(
                f"{self.name}: a cost must not be below its bound ({self.bound:.0f}), "
                f"but got {code.cost.cycles}"
            )
        return Compiled(point, program, code.listing, code.cost)

    def check(self, point: Point) -> tuple[bool, str]:
        """Runs the point's code on fixed inputs, extremes among them, and compares the bytes."""
        message = self.values.difference(run_program(self.program(point), self.values.stored))
        return not message, message


def _program(compiler: Compiler, point: Point) -> tuple[Compiler, Program]:
    return compiler, compiler.machine.build(compiler.scheduled(point))


# By the compiler's identity, which is held: another one of its kernel may have other constants.
_scheduled = Recent[tuple[Compiler, PrimFunc]](2)
_programs = Recent[tuple[Compiler, Program]](32)
