"""What a template is: a space of knobs for one kind of kernel, and how a point is applied.

A template is a function ``(func, machine) -> Template | None``; None says that the kernel is not of
its kind. ``apply(point)`` gives the schedule of a point, with its trace; ``estimate(point)`` an
analytic guess of the cycles and the facts that the cost model learns from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...target.machine_facts import Machine
from ...tir.quick import quick
from ...tir.recent import Recent
from ...tir.stmt import PrimFunc
from ..knobs import Point, Space
from ..placing.operands import place_operands
from ..schedule import Schedule

COUNTS = (
    "inner_packets",
    "dots_per_packet",
    "loop_trips",
    "loop_starts",
    "tiles",
    "registers",
    "phases",
    "unbalance",
    "code",
)  # facts that are features by their logarithm
SHARES = (
    "requant_packets",
    "extra_packets",
    "dma_cycles",
    "first_wait",
)  # facts that are features as a share of the estimated cycles
FEATURES = ("cycles", *COUNTS, *SHARES)  # the columns of the cost model, the same for all kernels


@quick
@dataclass(frozen=True, slots=True)
class Estimate:
    """An analytic guess: ``cycles``, and named facts (those missing are 0)."""

    cycles: float
    facts: Mapping[str, float]


def unknown(_: Point) -> Estimate:
    """The estimate of a template that has none: all points alike."""
    return Estimate(1.0, {})


@dataclass(frozen=True)
class Template:
    """One kernel's open decisions. ``name`` is the template's; ``parts`` are the points on each
    number of threads, where that is open, ``spare`` a template for where no point has code."""

    name: str
    func: PrimFunc
    machine: Machine
    space: Space
    schedule: Callable[[Point], Schedule]
    estimate: Callable[[Point], Estimate] = unknown
    parts: Mapping[int, Callable[[], Space]] = field(default_factory=dict, kw_only=True)
    spare: Callable[[], Template] | None = field(default=None, kw_only=True)

    def of(self, point: Mapping[str, object]) -> Template:
        """The template that has a point: this one or, behind it, another one."""
        return self

    def __post_init__(self) -> None:
        """A search asks for the estimate of a point several times in a row."""
        known, estimate = Recent[Estimate](256), self.estimate

        def remembered(point: Point) -> Estimate:
            return known(frozenset(point.items()), lambda: estimate(point))

        object.__setattr__(self, "estimate", remembered)

    def function(self, point: Point) -> PrimFunc:
        """The scheduled kernel, its operands where they are."""
        return self.schedule(point).func

    def apply(self, point: Point) -> PrimFunc:
        """The scheduled kernel, its DDR operands staged: large ones slab by slab."""
        return place_operands(self.function(point), self.machine)

    def features(self, point: Point, bound: float) -> list[float]:
        """The facts of the estimate as ``FEATURES``, which mean the same for kernels of any size:
        the cycles stand over the ``bound`` that no schedule beats."""
        estimate = self.estimate(point)
        cycles, facts = max(estimate.cycles, 1.0), estimate.facts
        over = math.log2(cycles / max(bound, 1.0))
        counts = [math.log2(1 + max(facts.get(name, 0.0), 0.0)) for name in COUNTS]
        return [over, *counts, *(facts.get(name, 0.0) / cycles for name in SHARES)]
