"""A kernel cut into strips of output rows, one after another: its function, its guessed cost.

    copy(x_0, rows of x, "x_0")
    wait("x_0");  copy(x_1, next rows, "x_1");          <phases of strip 0: x_0 -> y_0>
    copy(rows of y, y_0, "y_0");  wait("x_1");  ...     <phases of strip 1: x_1 -> y_1>

A strip is a kernel of fewer rows, scheduled by the template of its kind; strips of one form (see
``strips.py``) are scheduled once. Images in DDR move by DMA while the strips before and after are
computed; images in TCM are used where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...target.dsp.machine import Machine
from ...tir.expr import const
from ...tir.passes.blocks import lower_blocks
from ...tir.passes.flatten import flat_index
from ...tir.passes.simplify import simplify_func
from ...tir.stmt import (
    Alloc,
    Buffer,
    Copy,
    PrimFunc,
    Region,
    Stmt,
    Wait,
    seq,
    walk_stmt,
)
from ...tir.types import i32
from ..build import Index, retargeted
from ..knobs import Point
from .contraction_plan import scratch
from .strips import Strip, activations, rows_of, strips_of
from .template import Estimate, Template

SLACK = 128  # bytes behind a buffer

Make = Callable[[PrimFunc, Machine], Template | None]
Form = tuple[int, int]


@dataclass(frozen=True)
class Cut:
    """A kernel in strips; ``free`` bytes of TCM are left for its constants."""

    func: PrimFunc
    machine: Machine
    strips: list[Strip]
    kernels: dict[Form, Template]
    free: int

    @staticmethod
    def of(func: PrimFunc, machine: Machine, make: Make, rows: int) -> Cut | None:
        """``func`` in strips of ``rows`` rows; None where the templates of its strips differ."""
        strips = strips_of(func, rows)
        if any(strip.count == 0 for strip in strips):
            return None
        funcs = {strip.form: rows_of(func, strip) for strip in strips}
        largest = max(funcs.values(), key=lambda f: sum(p.bytes for p in activations(f)))
        turning = sum(
            2 * (small.bytes + SLACK) if large.scope == "ddr" else large.bytes
            for small, large in zip(activations(largest), activations(func), strict=True)
        )
        kernels = {}
        for form, small in funcs.items():
            own = sum(p.bytes for p in activations(small))
            inner = replace(machine, tcm=machine.tcm - turning + own)
            free = machine.tcm - turning - scratch(small, inner)
            kernel = make(small, inner) if free >= 0 else None
            if kernel is None:
                return None
            kernels[form] = kernel
        if len({kernel.space.knobs for kernel in kernels.values()}) > 1:
            return None
        return Cut(func, machine, strips, kernels, free)

    @property
    def template(self) -> Template:
        """The template of most strips."""
        forms = [strip.form for strip in self.strips]
        return self.kernels[max(self.kernels, key=forms.count)]

    @property
    def images(self) -> list[Buffer]:
        """The whole images, as rows of bytes."""
        return [replace(p, shape=(p.size,)) for p in activations(self.func)]

    def function(self, point: Point) -> PrimFunc:
        """The kernel at a point: blocks are lowered, images in DDR are copied."""
        made = {
            form: simplify_func(lower_blocks(kernel.schedule(point).func))
            for form, kernel in self.kernels.items()
        }
        first = made[self.strips[0].form]
        flat = {image.name: image for image in self.images}
        params = tuple(flat.get(p.name, p) for p in first.params)
        whole = replace(first, params=params)
        return whole.with_body(_Writer(self, made).body())

    def phases(self, point: Point) -> float:
        """Phases that multiply, of all strips."""
        facts = self.template.estimate(point).facts
        return len(self.strips) * facts.get("phases", 1.0)

    def estimate(self, point: Point) -> Estimate:
        """Strips one after another, each as long as computing it or moving its images takes."""
        inner, machine = self.template.estimate(point), self.machine
        count, strip = len(self.strips), self.strips[len(self.strips) // 2]
        moved = {b.name: strip_bytes(b, self.func, strip) for b in activations(self.func)}
        far = {b.name for b in activations(self.func) if b.scope == "ddr"}
        inputs = sum(n for name, n in moved.items() if name in far and name != self.output)
        output = moved[self.output] if self.output in far else 0
        constants = sum(p.bytes for p in self.func.params if p.name in self.func.constants)
        again = constants if constants > self.free else 0
        facts = dict(inner.facts)
        waited = max(facts.get("first_wait", 0.0) - facts.get("extra_packets", 0.0), 0.0)
        each = max(
            inner.cycles - waited + 2 * machine.barrier,
            (inputs + output + again) / machine.dma_rate,
        )
        ends = machine.dma_start + max(inputs, constants if waited else 0) / machine.dma_rate
        total = ends + count * each + (output / machine.dma_rate + machine.dma_start)
        facts["phases"] = facts.get("phases", 1.0) * count
        facts["dma_cycles"] = count * (inputs + output + again) / machine.dma_rate
        return Estimate(total, facts)

    @property
    def output(self) -> str:
        return self.func.params[-1].name


def strip_bytes(image: Buffer, func: PrimFunc, strip: Strip) -> int:
    """Bytes of the rows of ``image`` that a strip touches."""
    return _row(image) * _rows(image, func, strip)[1]


def _row(image: Buffer) -> int:
    return image.shape[2] * image.shape[3]


def _rows(image: Buffer, func: PrimFunc, strip: Strip) -> tuple[int, int]:
    """The first row and the number of rows of an image that a strip touches."""
    if image.name == func.params[-1].name:
        return strip.first, strip.rows
    return strip.start, strip.count


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a strip's image lies: ``offset`` elements into a buffer of one dimension."""

    buffer: Buffer
    offset: int


class _Writer:
    """The statements of all strips."""

    def __init__(self, cut: Cut, made: dict[Form, PrimFunc]) -> None:
        self.cut, self.made = cut, made
        self.near: dict[str, Buffer] = {}  # buffers that take turns
        self.local: dict[str, Buffer] = {}  # scratch of all forms

    def body(self) -> Stmt:
        strips = self.cut.strips
        out: list[Stmt] = [*self._fetch(0)]
        for number, strip in enumerate(strips):
            out += [Wait(c.token) for c in self._fetch(number)]
            out += self._fetch(number + 1)
            if number >= 2:
                out += [Wait(c.token) for c in self._keep(number - 2)]
            out.append(self._strip(number, strip))
            out += self._keep(number)
        for number in range(max(len(strips) - 2, 0), len(strips)):
            out += [Wait(c.token) for c in self._keep(number)]
        body = seq(*out)
        for buffer in self.near.values():
            body = Alloc(buffer, body)
        return body

    def _spot(self, image: Buffer, number: int) -> _Spot:
        """The buffer whose turn it is, or the strip's part of an image in TCM."""
        func, strip = self.cut.func, self.cut.strips[number]
        if image.scope == "tcm":
            start = strip.image * image.shape[1] + _rows(image, func, strip)[0]
            return _Spot(replace(image, shape=(image.size,)), start * _row(image))
        name = f"{image.name}_{number % 2}"
        if name not in self.near:
            most = max(strip_bytes(image, func, s) for s in self.cut.strips)
            self.near[name] = Buffer(name, image.type, (most,), "tcm")
        return _Spot(self.near[name], 0)

    def _copies(self, number: int, result: bool) -> list[Copy]:
        """Copies of a strip's rows of the inputs that lie in DDR, or of the result."""
        if number >= len(self.cut.strips):
            return []
        func, strip = self.cut.func, self.cut.strips[number]
        found = []
        for image in activations(func):
            if image.scope == "tcm" or (image.name == self.cut.output) != result:
                continue
            start = (strip.image * image.shape[1] + _rows(image, func, strip)[0]) * _row(image)
            size = strip_bytes(image, func, strip)
            spot = self._spot(image, number)
            far = Region(replace(image, shape=(image.size,)), (const(start, i32),), (size,))
            near = Region(spot.buffer, (const(spot.offset, i32),), (size,))
            token = f"{image.name}_strip_{number}"
            found.append(Copy(far, near, token) if result else Copy(near, far, token))
        return found

    def _fetch(self, number: int) -> list[Copy]:
        return self._copies(number, False)

    def _keep(self, number: int) -> list[Copy]:
        return self._copies(number, True)

    def _strip(self, number: int, strip: Strip) -> Stmt:
        made = self.made[strip.form]
        spots: dict[str, _Spot] = {
            image.name: self._spot(image, number) for image in activations(self.cut.func)
        }
        renamed = self._renamed(made.body, strip)

        def element(buffer: Buffer, index: Index) -> tuple[Buffer, Index] | None:
            if buffer.name in spots:
                spot = spots[buffer.name]
                at = flat_index(buffer, index)
                return spot.buffer, (at + spot.offset if spot.offset else at,)
            return (renamed[buffer], index) if buffer in renamed else None

        return retargeted(made.body, element)

    def _renamed(self, body: Stmt, strip: Strip) -> dict[Buffer, Buffer]:
        """Scratch that differs from that of another form under the same name."""
        renamed = {}
        for buffer in dict.fromkeys(s.buffer for s in walk_stmt(body) if isinstance(s, Alloc)):
            known = self.local.setdefault(buffer.name, buffer)
            if known != buffer:
                name = f"{buffer.name}_{strip.count}_{strip.above}"
                renamed[buffer] = replace(buffer, name=name)
        return renamed
