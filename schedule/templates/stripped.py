"""Kernels whose images do not fit into TCM: strips of output rows, one after another.

    copy(x_0, rows of x, "x_0")
    wait("x_0");  copy(x_1, next rows, "x_1");          <phases of strip 0: x_0 -> y_0>
    copy(rows of y, y_0, "y_0");  wait("x_1");  ...     <phases of strip 1: x_1 -> y_1>

A strip is a kernel of fewer rows, scheduled by the template of its kind: the knob ``strip`` says
how many rows (0: all at once), and the other knobs are that template's. Images in DDR move by DMA
while the strips before and after are computed; images in TCM are used where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, Value, number
from .conv2d import scratch
from .place import place_operands
from .strips import activations, divisible
from .stripwise import Cut
from .template import Estimate, Template

Make = Callable[[PrimFunc, Machine], Template]

MOST = 28  # strips: each has phases of its own
WASTE = 8  # rows computed twice are at most one in so many
HEIGHTS = 8  # of strips, to choose from


@dataclass(frozen=True)
class Stripped(Template):
    """A template whose points may compute the kernel strip by strip."""

    whole: Template
    cuts: Mapping[int, Cut]

    def apply(self, point: Point) -> PrimFunc:
        cut = self.cuts.get(number(point, "strip"))
        if cut is None:
            return self.whole.apply(point)
        return place_operands(cut.function(point), self.machine, not point.get("whole", False))


@dataclass(frozen=True)
class Strips(Space):
    """The spaces of the templates of all strips, as one: ``strip`` chooses the template."""

    templates: Mapping[int, Template] = field(default_factory=dict)

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        """Blind draws from the space of a strip; knobs that it has not stand at their first."""
        found: list[Point] = []
        least = {knob.name: knob.values[0] for knob in self.knobs}
        for _ in range(tries):
            rows = rng.choice(list(self.templates))
            for point in self.templates[rows].space.survey(rng, 1, 1):
                found.append({**least, **point, "strip": rows})
            if len(found) == count:
                break
        return found


def stripped(func: PrimFunc, whole: Template, machine: Machine, make: Make) -> Template:
    """``whole`` with a knob ``strip`` where the images and scratch of all rows do not fit."""
    if not divisible(func) or _bytes(func) <= machine.tcm:
        return whole
    cuts = {rows: cut for rows in _heights(func) if (cut := _cut(func, machine, make, rows))}
    cuts = dict(list(cuts.items())[:: max(-(-len(cuts) // HEIGHTS), 1)])
    if not cuts:
        return whole
    templates = {0: whole, **{rows: cut.template for rows, cut in cuts.items()}}
    knobs = _knobs(templates)
    space = Strips(knobs, (_constraint(knobs, templates),), templates)

    def estimate(point: Point) -> Estimate:
        cut = cuts.get(number(point, "strip"))
        return whole.estimate(point) if cut is None else cut.estimate(point)

    return Stripped(whole.name, whole.func, machine, space, whole.schedule, estimate, whole, cuts)


def _bytes(func: PrimFunc) -> int:
    """What a kernel would like to have in TCM."""
    return scratch(func) + sum(p.bytes for p in func.params)


def _heights(func: PrimFunc) -> list[int]:
    """Rows of a strip: few strips, equally high."""
    rows = func.params[-1].shape[1]
    images = func.params[-1].shape[0]
    found = []
    for height in range(rows - (images == 1), 0, -1):
        count = -(-rows // height)
        if count * images <= MOST and (count * height - rows) * WASTE <= rows:
            found.append(height)
    return found


def _cut(func: PrimFunc, machine: Machine, make: Make, rows: int) -> Cut | None:
    """The kernel in strips of ``rows``; None where they do not fit either."""
    cut = Cut.of(func, machine, make, rows)
    if cut is None:
        return None
    constants = sum(p.bytes for p in func.params if p not in activations(func))
    return cut if cut.free >= min(constants, machine.tcm // 8) else None


def _knobs(templates: Mapping[int, Template]) -> tuple[Knob, ...]:
    """Knobs of all templates, each with all values that it has in one of them."""
    values: dict[str, dict[Value, None]] = {}
    kinds: dict[str, str] = {}
    for template in templates.values():
        for knob in template.space.knobs:
            kinds[knob.name] = knob.kind
            values.setdefault(knob.name, {}).update(dict.fromkeys(knob.values))
    strip = Knob("strip", "choice", tuple(sorted(templates)))
    return strip, *(Knob(n, kinds[n], _ordered(tuple(v))) for n, v in values.items())


def _ordered(values: tuple[Value, ...]) -> tuple[Value, ...]:
    numbers = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    return tuple(sorted(numbers)) if len(numbers) == len(values) else values


def _constraint(
    knobs: tuple[Knob, ...], templates: Mapping[int, Template]
) -> Callable[[Point], bool]:
    least = {knob.name: knob.values[0] for knob in knobs[1:]}
    known = {
        rows: {knob.name: frozenset(knob.values) for knob in template.space.knobs}
        for rows, template in templates.items()
    }

    def fits(point: Point) -> bool:
        rows = number(point, "strip")
        own = known[rows]
        for name, value in least.items():
            if point[name] not in own[name] if name in own else point[name] != value:
                return False
        return templates[rows].space.valid(point)

    return fits
