"""What a kernel around one contraction is, read from the accesses of its blocks.

    [fill xp]  [copy xp = x]                the input with its pads, where it needs any
    acc += xp * w                           the contraction
    y = f(acc)                              what is made of its sums, element by element

``Contraction`` names these blocks and the axes of the contraction; templates decide what lies in
lanes. These are words of four bytes of the machine's vectors, of whatever length: where templates
of contractions write 32 and 128, as examples, they mean lanes and bytes of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...tir.expr import Expr, free_vars, walk
from ...tir.linear import Linear, linear
from ...tir.recent import OfOwner
from ...tir.stmt import Alloc, Buffer, PrimFunc, walk_stmt
from ...tir.types import i8, u8
from ..extents import meant
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Axis, Form, Role, Structure, structure
from ..tree import blocks_below

WORD = 4  # bytes
_kernels = OfOwner["Contraction | None"](512)


class OfWords:
    """What is made for registers of ``vector`` bytes, whose lanes are words."""

    __slots__ = ()
    vector: int

    @property
    def lanes(self) -> int:
        """Words of a register."""
        return self.vector // WORD


@dataclass(frozen=True, slots=True)
class Contraction(OfWords):
    """A contraction of activations by constant weights over images [n, h, w, c].

    ``pixel`` and ``row`` are the axes of the result's columns and rows, ``output`` that of its
    channels; ``depth`` is the summed axis along which the input lies, ``taps`` are the others.
    Where each channel is summed by itself, there is no ``depth``. A ``group`` is of neighbouring
    channels of the result that read neighbouring ones of the input.
    """

    dot: Structure
    last: Structure
    copy: Structure | None
    fill: Structure | None
    image: Axis
    row: Axis
    pixel: Axis
    output: Axis
    taps: tuple[Axis, ...]
    depth: Axis | None
    group: Axis | None
    vector: int  # bytes of a register

    @property
    def input(self) -> Buffer:
        return self.dot.reads[0].buffer

    @property
    def weights(self) -> Buffer:
        return self.dot.reads[1].buffer

    @property
    def result(self) -> Buffer:
        return self.last.out.buffer

    @property
    def stride(self) -> int:
        """Columns of the input between neighbouring columns of the result."""
        return self.dot.reads[0].step(self.pixel) // self.input.shape[3]

    @property
    def down(self) -> int:
        """Rows of the input between neighbouring rows of the result."""
        return self.dot.reads[0].step(self.row) // (self.input.shape[3] * self.input.shape[2])

    def source(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of the input that so many of the result read, by two axes of taps."""
        dims = [linear(e) for e in self.dot.reads[0].index[1:3]]
        last = (rows - 1) * self.down, (columns - 1) * self.stride
        tall, wide = (
            at + (tap.extent - 1) * form.terms.get(tap.var, 1) + 1
            for at, form, tap in zip(last, dims, self.taps, strict=True)
        )
        return tall, wide

    def unpadded(self, rows: int, columns: int) -> bool:
        """Whether so many rows and columns of the result read nothing but what is copied."""
        assert self.copy is not None
        starts = [linear(e).constant for e in self.copy.out.index[1:3]]
        sizes = [axis.extent for axis in self.copy.axes[1:3]]
        wanted = self.source(rows, columns)
        return starts == [0, 0] and all(s >= n for s, n in zip(sizes, wanted, strict=True))

    def by_output(self, func: PrimFunc) -> list[str]:
        """The constants of an element for each output, beside the weights."""
        known = {p.name for p in func.params if p.name in func.constants and len(p.shape) == 1}
        reads = [node for node in walk(self.dot.init) if node.op == "load"] if self.dot.init else []
        found = [node.attr.name for node in reads if node.args == self.dot.out.index[3:]]
        found += [u.buffer.name for u in self.last.reads if u.index == self.last.out.index[3:]]
        return [name for name in dict.fromkeys(found) if name in known]

    def alone(self, func: PrimFunc) -> bool:
        """Whether the result is made of the sums and constants, of no other image."""
        reads = {use.buffer.name for use in self.last.reads} - {self.dot.out.buffer.name}
        return reads <= func.constants.keys()

    def others(self, func: PrimFunc) -> int:
        """Bytes of the constants beside the weights."""
        known = (p.bytes for p in func.params if p.name in func.constants and p != self.weights)
        return sum(known)

    def real(self, func: PrimFunc) -> tuple[int, ...]:
        """The extents of the result that mean something."""
        return meant(func, self.result)


def kernel_of(func: PrimFunc, vector: int) -> Contraction | None:
    """``func`` as a kernel around one contraction, for registers of ``vector`` bytes; None where it
    is another one."""
    return _kernels(func, vector, lambda: _kernel(func, vector))


def _kernel(func: PrimFunc, vector: int) -> Contraction | None:
    found = [structure(block) for block in blocks_below(func.body)]
    parts = [part for part in found if part is not None]
    dots = [part for part in parts if part.form is Form.CONTRACTION]
    if len(parts) < len(found) or len(dots) != 1 or not 2 <= len(parts) <= 4:
        return None
    (dot,) = dots
    made = [part for part in parts if part.out.buffer == dot.reads[0].buffer]
    after = [part for part in parts if any(use.buffer == dot.out.buffer for use in part.reads)]
    if [*made, dot, *after] != parts or len(after) != 1 or after[0].form is not Form.MAP:
        return None
    fills = [part for part in made if part.form is Form.FILL]
    copies = [part for part in made if part.form is Form.COPY]
    if made not in ([*fills, *copies], copies) or len(fills) > 1 or len(copies) > 1:
        return None
    if bool(made) != bool(copies):
        return None
    (last,), copy, fill = after, next(iter(copies), None), next(iter(fills), None)
    axes = _axes(func, dot, last)
    return None if axes is None else Contraction(dot, last, copy, fill, *axes, vector)


def _axes(
    func: PrimFunc, dot: Structure, last: Structure
) -> tuple[Axis, Axis, Axis, Axis, tuple[Axis, ...], Axis | None, Axis | None] | None:
    """The axes of a contraction over images with weights [taps..., depth, output]; without a depth,
    the input lies along the output. Groups move outputs and depth by all that they have."""
    first, second = dot.reads
    constant = second.buffer.name in func.constants
    if first.buffer.type != u8 or second.buffer.type != i8 or not constant:
        return None
    if len(first.index) != 4 or len(dot.out.index) != 4 or len(last.out.index) != 4:
        return None
    by_var = {axis.var: axis for axis in dot.axes}
    *heads, channel = dot.out.index
    inside = [by_var[var] for var in linear(channel).terms if var in by_var]
    if not 1 <= len(inside) <= 2:
        return None
    *groups, output = sorted(inside, key=lambda axis: -dot.out.step(axis))
    group = groups[0] if groups else None
    if any(e not in by_var for e in heads) or not _runs(channel, output, group):
        return None
    image, row, pixel = (by_var[e] for e in heads)
    summed = [by_var[e] for e in second.index[:-1] if e in by_var]
    if len(summed) < len(second.index) - 1 or not _runs(second.index[-1], output, group):
        return None
    alone = dot.role(output) is Role.BATCH
    depth, taps = (None, summed) if alone else (summed[-1], summed[:-1])
    inner = depth or output
    if any(
        {axis.var} - free_vars(e)
        for axis, e in zip((image, row, pixel), first.index[:3], strict=True)
    ):
        return None
    if {axis.var for axis in dot.summed} != {axis.var for axis in summed}:
        return None
    roles = [(axis, Role.ROW) for axis in (image, row, pixel)]
    roles += [] if alone else [(output, Role.COLUMN)]
    roles += [(group, Role.BATCH)] if group else []
    if any(dot.role(axis) is not role for axis, role in roles if axis.extent > 1):
        return None
    if not _runs(first.index[3], inner, group) or not _same_order(dot, last):
        return None
    return image, row, pixel, output, tuple(taps), depth, group


def _runs(index: Expr, inner: Axis, group: Axis | None) -> bool:
    """Whether an index runs through ``inner``, once in each group."""
    steps = {inner.var: 1} if group is None else {group.var: inner.extent, inner.var: 1}
    return linear(index) == Linear(steps, 0)


def _same_order(dot: Structure, last: Structure) -> bool:
    """Whether the last block makes each element of the result of the sum at the same place."""
    sums = [use for use in last.reads if use.buffer == dot.out.buffer]
    return len(sums) == 1 and sums[0].index == last.out.index == tuple(a.var for a in last.axes)


def local(func: PrimFunc) -> list[Buffer]:
    """The images of a kernel that are its own, in TCM."""
    found = (s.buffer for s in walk_stmt(func.body) if isinstance(s, Alloc))
    return [buffer for buffer in found if buffer.scope == "tcm"]


def bordered(
    sch: Schedule, kernel: Contraction, columns: int, channels: int, pads: bool, deep: int = 0
) -> list[str]:
    """Runs the copy of the input on to steps of columns, and of ``deep`` channels (0: all that are
    stored), and fills the border around it, where it has ``pads``, by steps of channels, too; gives
    the blocks in their order."""
    assert kernel.copy is not None
    copy, fills = kernel.copy.block, list[str]()
    if kernel.fill is not None and pads:
        late = sch.get_loop(sch.loops(copy)[2]).extent % columns > 0  # the copy runs on over pads
        fills = [ref.name for ref in sch.border(kernel.fill.block, late)]
    parts = [ref.name for ref in sch.blocks() if ref.name in (copy, *fills)]
    deep = deep or kernel.copy.reads[0].buffer.shape[3]
    for name in parts:
        run_to(sch, name, 3, deep if name == copy else channels)
    for name in reversed(parts):  # none runs on over what one before it has made
        run_to(sch, name, 2, columns)
    return parts


def run_to(sch: Schedule, block: str, at: int, step: int) -> LoopRef:
    """Lets a loop of a block run on to a multiple; gives the loop."""
    loop = sch.loops(block)[at]
    extent = sch.get_loop(loop).extent
    return sch.resize(loop, -(-extent // step) * step) if extent % step else loop
