"""A kernel cut into strips of output rows, one after another: the kernels of strips, the guess.

A strip is a kernel of fewer rows (``placing/part``), scheduled by the same template as the others;
those of one form are scheduled once. Images in DDR move while the strips before and after are
computed; what does not move with the rows comes as it does for the whole kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod

from ...target.dsp.machine import Machine
from ...tir.passes.checked import SLACK
from ...tir.stmt import Buffer, PrimFunc
from ..knobs import Point
from ..placing.part import Part, part_of, stretch
from ..placing.strips import Form, form_of, images_of, strip_by_strip
from ..placing.transfers import PLACES
from .contraction_plan import scratch
from .template import Estimate, Template

MOST = 28  # strips: each has phases of its own
WASTE = 8  # of this number of rows, at most one is computed twice

Make = Callable[[PrimFunc, Machine], Template | None]


def rows_of(image: Buffer) -> int:
    """The dimension that is cut: rows of images, columns where there is one row."""
    inner = range(len(image.shape) > 2, len(image.shape) - 1)
    return next((d for d in inner if image.shape[d] > 1), 0)


def heights(func: PrimFunc) -> Iterator[int]:
    """Rows of a strip: few strips, equally high."""
    shape, at = func.params[-1].shape, rows_of(func.params[-1])
    images, rows = prod(shape[:at]), shape[at]
    for height in range(rows - (images == 1), 0, -1):
        count = -(-rows // height)
        if count * images > MOST:
            return
        if (count * height - rows) * WASTE <= rows:
            yield height


def strips_of(func: PrimFunc, rows: int) -> list[Part]:
    """The strips of ``rows`` rows each, the last one of an image beginning earlier; none where
    rows cannot be computed by themselves."""
    shape, at = func.params[-1].shape, rows_of(func.params[-1])
    found = []
    for *image, first in product(*(range(n) for n in shape[:at]), range(0, shape[at], rows)):
        first = min(first, shape[at] - rows)
        box = {d: range(i, i + 1) for d, i in enumerate(image)}
        part = part_of(func, {**box, at: range(first, first + rows)})
        if part is None or not _in_one_piece(func, part):
            return []
        found.append(part)
    return found


def _in_one_piece(func: PrimFunc, part: Part) -> bool:
    return all(stretch(p, part.boxes[p.name]) is not None for p in images_of(func, part))


@dataclass(frozen=True)
class Cut:
    """A kernel in strips; ``free`` bytes of TCM are left for what does not move with the rows."""

    func: PrimFunc
    machine: Machine
    strips: list[Part]
    kernels: dict[Form, Template]
    free: int

    @staticmethod
    def of(func: PrimFunc, machine: Machine, make: Make, strips: list[Part]) -> Cut | None:
        """``func`` in strips; None where the templates of its strips differ."""
        funcs = {form_of(strip.func): strip.func for strip in strips}
        own = {form: sum(p.bytes for p in images_of(f, strips[0])) for form, f in funcs.items()}
        largest = funcs[max(own, key=lambda form: own[form])]
        pairs = zip(images_of(largest, strips[0]), images_of(func, strips[0]), strict=True)
        turning = sum(
            PLACES * (small.bytes + SLACK) if large.scope == "ddr" else large.bytes
            for small, large in pairs
        )
        kernels = {}
        for form, small in funcs.items():
            inner = replace(machine, tcm=machine.tcm - turning + own[form])
            free = machine.tcm - turning - scratch(small, inner)
            kernel = make(small, inner) if free >= 0 else None
            if kernel is None:
                return None
            kernels[form] = kernel
        if len({kernel.space.knobs for kernel in kernels.values()}) > 1:
            return None
        return Cut(func, machine, strips, kernels, free)

    @cached_property
    def template(self) -> Template:
        """The template of most strips."""
        forms = [form_of(strip.func) for strip in self.strips]
        return self.kernels[max(self.kernels, key=forms.count)]

    def function(self, point: Point) -> PrimFunc:
        """The kernel at a point: blocks are lowered, images in DDR are copied."""

        def scheduled(strip: PrimFunc) -> PrimFunc:
            return self.kernels[form_of(strip)].schedule(point).func

        return strip_by_strip(self.func, self.strips, scheduled)

    def phases(self, point: Point) -> float:
        """Phases that multiply, of all strips."""
        facts = self.template.estimate(point).facts
        return len(self.strips) * facts.get("phases", 1.0)

    @property
    def fixed(self) -> int:
        """Bytes of what does not move with the rows."""
        moving = {image.name for image in images_of(self.func, self.strips[0])}
        return sum(p.bytes for p in self.func.params if p.name not in moving)

    def estimate(self, point: Point) -> Estimate:
        """Strips one after another, each as long as computing it or moving its images takes."""
        inner, machine = self.template.estimate(point), self.machine
        count, strip = len(self.strips), self.strips[len(self.strips) // 2]
        far = {image.name for image in images_of(self.func, strip) if image.scope == "ddr"}
        moved = {p.name: p.bytes for p in strip.func.params if p.name in far}
        output = moved.pop(self.func.params[-1].name, 0)
        inputs = sum(moved.values())
        again = self.fixed if self.fixed > self.free else 0
        facts = dict(inner.facts)
        waited = max(facts.get("first_wait", 0.0) - facts.get("extra_packets", 0.0), 0.0)
        each = max(
            inner.cycles - waited + 2 * machine.barrier,
            (inputs + output + again) / machine.dma_rate,
        )
        ends = machine.dma_start + max(inputs, self.fixed if waited else 0) / machine.dma_rate
        total = ends + count * each + (output / machine.dma_rate + machine.dma_start)
        facts["phases"] = facts.get("phases", 1.0) * count
        facts["dma_cycles"] = count * (inputs + output + again) / machine.dma_rate
        return Estimate(total, facts)
