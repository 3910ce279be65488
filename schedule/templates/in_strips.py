"""A kernel cut into strips of output rows, one after another: the kernels of strips, the guess.

A strip is a kernel of fewer rows (``placing/part``), scheduled by the same template as the others;
those of one form are scheduled once. Images in DDR move while the strips before and after are
computed; what does not move with the rows comes as it does for the whole kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from ...target.machine_facts import Machine
from ...tir.places import ALIGN
from ...tir.recent import OfOwner
from ...tir.stmt import Alloc, PrimFunc, walk_stmt
from ..knobs import Point
from ..placing.part import KernelPart, part_of, stretch
from ..placing.strips import Form, form_of, images_of, strip_by_strip
from ..placing.transfers import PLACES
from .contraction import local
from .template import Estimate, Template

MOST = 28  # strips: each has phases of its own
WASTE = 8  # of this number of rows, at most one is computed twice
SHARE = 8  # of TCM, that at least what does not move with the rows has beside them

Taking = Callable[[PrimFunc, Machine], Iterator[Template]]


def cuts_of(func: PrimFunc, machine: Machine) -> list[int]:
    """The dimensions that may be cut, the best first: rows of images, columns where there is one
    row; the next one in where TCM has no room for a step, with its images twice."""
    shape = func.params[-1].shape
    inner = [d for d in range(len(shape) > 2, len(shape) - 1) if shape[d] > 1] or [0]
    images = sum(p.bytes for p in func.params if p.name not in func.constants)
    own = sum(s.buffer.bytes for s in walk_stmt(func.body) if isinstance(s, Alloc))
    room = (d for d in inner if (PLACES * images + own) // prod(shape[: d + 1]) <= machine.tcm)
    return list(dict.fromkeys([next(room, inner[-1]), inner[0]]))


def heights(func: PrimFunc, at: int) -> Iterator[int]:
    """Rows of a strip, steps of dimension ``at``: few strips, equally high."""
    shape = func.params[-1].shape
    images, rows = prod(shape[:at]), shape[at]
    for height in range(rows - (images == 1), 0, -1):
        count = -(-rows // height)
        if count * images > MOST:
            return
        if (count * height - rows) * WASTE <= rows:
            yield height


def strips_of(func: PrimFunc, rows: int, at: int) -> Sequence[KernelPart]:
    """The strips of ``rows`` rows each, the last one of an image beginning earlier; none where
    rows cannot be computed by themselves. They are the same on any number of threads."""
    return _recent(func, (rows, at), lambda: _strips(func, rows, at))


_recent = OfOwner[Sequence[KernelPart]](512)


def _strips(func: PrimFunc, rows: int, at: int) -> Sequence[KernelPart]:
    shape, found = func.params[-1].shape, []
    for *image, first in product(*(range(n) for n in shape[:at]), range(0, shape[at], rows)):
        first = min(first, shape[at] - rows)
        box = {d: range(i, i + 1) for d, i in enumerate(image)}
        part = part_of(func, {**box, at: range(first, first + rows)})
        if part is None or not _in_one_piece(func, part):
            return []
        found.append(part)
    return found


def _in_one_piece(func: PrimFunc, part: KernelPart) -> bool:
    return all(stretch(p, part.boxes[p.name]) is not None for p in images_of(func, part))


@dataclass(frozen=True)
class Strips(Template):
    """The template of a kernel in strips; ``kernels`` are those of their forms."""

    strips: Sequence[KernelPart] = ()
    kernels: Mapping[Form, Template] = field(default_factory=dict)

    def function(self, point: Point) -> PrimFunc:
        """The kernel at a point: blocks are lowered, images in DDR are copied."""

        def scheduled(strip: PrimFunc) -> PrimFunc:
            return self.kernels[form_of(strip)].function(point)

        return strip_by_strip(self.func, self.strips, scheduled, self.machine)


def in_strips(
    func: PrimFunc, machine: Machine, taking: Taking, strips: Sequence[KernelPart]
) -> Iterator[Strips]:
    """``func`` in strips, by each template that takes all of them alike."""
    funcs = {form_of(strip.func): strip.func for strip in strips}
    own = {form: sum(p.bytes for p in images_of(f, strips[0])) for form, f in funcs.items()}
    largest = funcs[max(own, key=lambda form: own[form])]
    images = images_of(func, strips[0])
    pairs = zip(images_of(largest, strips[0]), images, strict=True)
    turning = sum(
        PLACES * (small.bytes + ALIGN) if large.scope == "ddr" else large.bytes
        for small, large in pairs
    )
    inner = {form: replace(machine, tcm=machine.tcm - turning + own[form]) for form in funcs}
    free = machine.tcm - turning - max(sum(b.bytes for b in local(f)) for f in funcs.values())
    fixed = sum(p.bytes for p in func.params if p not in images)
    if free < min(fixed, machine.tcm // SHARE):
        return
    found = {form: {t.name: t for t in taking(f, inner[form])} for form, f in funcs.items()}
    forms = [form_of(strip.func) for strip in strips]
    middle = strips[len(strips) // 2].func
    far = {image.name for image in images if image.scope == "ddr"}
    moved = {p.name: p.bytes for p in middle.params if p.name in far}
    output = moved.pop(func.params[-1].name, 0)
    for name in found[forms[0]]:
        kernels = {form: known[name] for form, known in found.items() if name in known}
        knobs = {kernel.space.knobs for kernel in kernels.values()}
        if len(kernels) == len(found) and len(knobs) == 1:
            common = kernels[max(kernels, key=forms.count)]
            again = fixed if fixed > free else 0
            guess = _Guess(common, machine, len(strips), output, sum(moved.values()), fixed, again)
            yield Strips(name, func, machine, common.space, common.schedule, guess.estimate,
                         strips, kernels)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Guess:
    """Bytes that each of ``count`` strips brings and takes, or has brought ``again``."""

    common: Template  # of most strips
    machine: Machine
    count: int
    output: int
    inputs: int
    fixed: int  # of what does not move with the rows
    again: int

    def estimate(self, point: Point) -> Estimate:
        """Strips one after another while images of others move; of the first one and the last one
        images move alone."""
        inner, machine, count = self.common.estimate(point), self.machine, self.count
        facts = dict(inner.facts)
        waited = max(facts.get("first_wait", 0.0) - facts.get("extra_packets", 0.0), 0.0)
        come, go = (self.inputs + self.again) / machine.dma_rate, self.output / machine.dma_rate
        each, beside = inner.cycles - waited, max(self.fixed - self.inputs, 0) if waited else 0
        ends = 2 * machine.dma_start + beside / machine.dma_rate + come + go
        ends -= facts.get("edges", 0.0)  # of the first strip, while its images move
        later = max(each, machine.dma_start + come + go) * (count - PLACES)  # once a place is free
        facts["phases"] = facts.get("phases", 1.0) * count
        facts["dma_cycles"] = count * (come + go)
        return Estimate(ends + each + max(each, come) + later, facts)
