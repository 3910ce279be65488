"""Unsigned storage for signed weights: sum x*w = sum x*(w + 128) - 128 * sum x.

The machine's fastest dot product takes unsigned bytes on both sides. ``offset_operand`` stores w as
u8 (w + 128) and takes 128 times the sum of the inputs off the accumulator's first value:

    csum[y, z] = sum over c of x[y, z, c]                once a pixel
    vsum[h, z] = sum over kh of csum[2 * h + kh, z]      down the columns of each row of windows
    wsum[h, q] = sum over kw of vsum[h, q + kw]          along the rows, where windows may begin
    acc[h, w, o] starts at bias[o] - 128 * wsum[h, 2 * w]

so that windows share sums, and neighbouring sums come from neighbours. All sums are modulo 2**32:
the accumulators are equal bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..tir.expr import Expr, cast, const, load, retyped, substitute, transform, var
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, Buffer, Iter, Stmt, Store
from ..tir.types import i8, i32, u8
from .blocks import Reduction, extents_of, reduction_of
from .build import (
    allocate,
    buffer_name,
    iters_of,
    nest_of,
    put_before,
    replace_buffer,
    set_constant,
    top_of,
)
from .errors import refusal
from .index import axes_in, bounds
from .state import BlockName, State
from .tree import blocks_below

OFFSET = 128
RULE = "the block must be acc = acc + cast(i32, x[...]) * cast(i32, w[...]) with an init"


def offset_operand(state: State, block: BlockName, buffer: str) -> list[str]:
    """Stores constant i8 weights as u8; returns the names of the blocks that sum the inputs."""
    node, path = state.block("offset_operand", block)
    found, x = _operands(state, node, buffer)
    top = top_of(path)
    for other in blocks_below(top[-1]):
        if any(a.buffer.name == x.attr.name for a in state.accesses(other).writes):
            raise refusal("offset_operand", "the inputs must be complete before the block's loops",
                          f"{other.name}, which writes {x.attr.name} inside", node,
                          "Use offset_operand before compute_at.")  # fmt: skip
    sums = _Sums(state, node, x)
    total = sums.build()
    assert found.init is not None
    put_before(state, top, *sums.stmts)
    _, path = state.block("offset_operand", block)
    weights = state.buffer("offset_operand", buffer)
    unsigned = replace(weights, type=u8)
    init = Store(found.buffer, found.index, found.init - total * OFFSET)
    state.swap(path, replace(node, init=init, body=_on(unsigned, node.body)))
    for new in sums.buffers:
        allocate(state, new)
    replace_buffer(state, buffer, unsigned)
    data = state.func.constants[buffer]
    set_constant(state, buffer, (data.astype(np.int16) + OFFSET).astype(np.uint8))
    return sums.names


def _on(buffer: Buffer, body: Stmt) -> Store:
    """A store with loads of a buffer of another type; products are of the operands' types."""
    assert isinstance(body, Store)

    def node(expr: Expr) -> Expr:
        if expr.op == "load" and expr.attr.name == buffer.name:
            return load(buffer, *expr.args)
        return retyped(expr)

    return replace(body, value=transform(body.value, node))


def _operands(state: State, block: Block, buffer: str) -> tuple[Reduction, Expr]:
    """The reduction, and the load of the inputs."""
    weights = state.buffer("offset_operand", buffer)
    if weights.type != i8 or buffer not in state.func.constants:
        raise refusal("offset_operand", "the operand must be a constant of i8",
                      f"{buffer}: {weights.type}")  # fmt: skip
    users = [b.name for b, _ in state.placed() if state.accesses(b).of(buffer)]
    if users != [block.name]:
        raise refusal(
            "offset_operand", "only the block may read the operand", ", ".join(users), block
        )
    found = reduction_of(block)
    product = None if found is None else _widened(found.value)
    if found is None or product is None or found.op != "add" or found.init is None:
        raise refusal("offset_operand", RULE, "another body", block)
    factors = [_widened(a) if product.op == "mul" else a for a in product.args]
    named = [f is not None and f.op == "load" and f.attr.name == buffer for f in factors]
    x = factors[named.index(False)] if sum(named) == 1 else None
    known = product.op in ("mul", "widening_mul")
    if not known or x is None or x.op != "load" or not x.type.is_int:
        raise refusal("offset_operand", RULE, "another body", block)
    return found, x


def _widened(value: Expr) -> Expr | None:
    """What a cast to i32 takes, or an i32 itself."""
    if value.op == "cast" and value.type == i32:
        return value.args[0]
    return value if value.type == i32 else None


@dataclass(frozen=True, slots=True)
class Dim:
    """How one dimension of x is read: ``(start + window) * step + channel``. Start is of spatial
    iters, window of reduce iters; channel is a reduce iter with a coefficient of 1, or none."""

    start: Expr
    window: Linear
    step: int
    channel: Iter | None
    size: int  # of the dimension, in steps

    @property
    def kept(self) -> bool:
        """Whether sums over the channel still have this dimension."""
        return bool(axes_in(self.start) or self.window.terms)


class _Sums:
    """The blocks that sum the inputs of one reduction block."""

    def __init__(self, state: State, block: Block, x: Expr) -> None:
        self.state, self.block, self.x = state, block, x
        self.names: list[str] = []
        self.buffers: list[Buffer] = []
        self.stmts: list[Stmt] = []
        self.spatial = {it.axis: it for it in block.iters if not it.reduce}
        self.reduce = {it.axis: it for it in block.iters if it.reduce and it.extent > 1}
        ones = {it.axis: const(0, i32) for it in block.iters if it.reduce and it.extent == 1}
        self.index = [substitute(e, ones) for e in x.args]
        for axis in self.reduce:
            found = [linear(e).terms for e in self.index if axis in axes_in(e)]
            if len(found) != 1 or axis not in found[0]:
                raise refusal("offset_operand", "each reduce iter must stand in one dimension of "
                              "the inputs' index", str(axis.attr), block)  # fmt: skip
        self.dims = [self._dim(k) for k in range(len(self.index))]
        self.kept = [dim for dim in self.dims if dim.kept]

    def _dim(self, k: int) -> Dim:
        form, last = linear(self.index[k]), k == len(self.index) - 1
        size = self.x.attr.shape[k]
        for axis, it in self.reduce.items():
            terms = {a: c for a, c in form.terms.items() if a is not axis}
            if form.terms.get(axis) != 1 or any(axis in axes_in(a) for a in terms):
                continue
            if not terms:
                return Dim(const(form.constant, i32), Linear({}, 0), 1, it, size)
            if last and not any(c % it.extent for c in (form.constant, *terms.values())):
                step = it.extent
                scaled = Linear({a: c // step for a, c in terms.items()}, form.constant // step)
                return self._windowed(scaled, step, it, size // step)
        return self._windowed(form, 1, None, size)

    def _windowed(self, form: Linear, step: int, channel: Iter | None, size: int) -> Dim:
        inner = {a: c for a, c in form.terms.items() if a in self.reduce}
        outer = {a: c for a, c in form.terms.items() if a not in self.reduce}
        start = from_linear(Linear(outer, form.constant))
        return Dim(start, Linear(inner, 0), step, channel, size)

    def build(self) -> Expr:
        """Makes the nests; gives the sum that belongs to an accumulator."""
        places = [self._place(k, bool(dim.window.terms)) for k, dim in enumerate(self.kept)]
        channels = [dim.channel for dim in self.dims if dim.channel is not None]
        windows = [k for k, dim in enumerate(self.kept) if dim.window.terms]
        sums = None
        if channels or not windows:
            at = [self._begin(k, place) for k, place in enumerate(places)]
            sums = self._sum("csum", places, channels, self._source(None, at))
        for k in windows:
            at = [p.axis if sums else self._begin(j, p) for j, p in enumerate(places)]
            places[k] = self._place(k, False)
            dim = self.kept[k]
            at[k] = from_linear(linear(self._begin(k, places[k])).plus(dim.window, 1))
            reduce = [self.reduce[axis] for axis in dim.window.terms]
            name = "wsum" if k == windows[-1] else "vsum"
            sums = self._sum(name, places, reduce, self._source(sums, at))
        ends = [place.axis if place.axis in self.spatial else dim.start
                for place, dim in zip(places, self.kept, strict=True)]  # fmt: skip
        return self._source(sums, ends)

    def _place(self, k: int, whole: bool) -> Iter:
        """The iter of a kept dimension in sums: the spatial one that alone moves it, or one of its
        own over where windows begin (over all that they read, if ``whole``). In the last dimension
        neighbours stay neighbours."""
        dim = self.kept[k]
        form, others = linear(dim.start), [d.start for d in self.kept if d is not dim]
        (axis, *more) = form.terms or [dim.start]
        alone = axis in self.spatial and not more and not any(axis in axes_in(e) for e in others)
        near = k < len(self.kept) - 1 or dim.start is axis
        if alone and near and not whole:
            return self.spatial[axis]
        known = extents_of(self.block.iters)
        _, high = bounds(from_linear(form.plus(dim.window, int(whole))), known)
        return Iter(var(f"d{k}"), dim.size if high is None else high + 1, False, var(f"d{k}"))

    def _begin(self, k: int, place: Iter) -> Expr:
        """Where the windows of a place begin, in the inputs."""
        return self.kept[k].start if place.axis in self.spatial else place.axis

    def _source(self, sums: Buffer | None, at: Sequence[Expr]) -> Expr:
        """The sums that are there at a place of the kept dimensions, the inputs before there are
        any."""
        if sums is not None:
            return load(sums, *(at or [const(0, i32)]))
        index, left = [], list(at)
        for dim in self.dims:
            form = linear((left.pop(0) if dim.kept else dim.start) * dim.step)
            if dim.channel is not None:
                form = form.plus(linear(dim.channel.axis), 1)
            index.append(from_linear(form))
        return cast(i32, load(self.x.attr, *index))

    def _sum(
        self, suffix: str, spatial: Sequence[Iter], reduce: Sequence[Iter], value: Expr
    ) -> Buffer:
        """``buffer[spatial] = sum over reduce of value``, in loops of its own."""
        name = self.state.fresh(f"{self.block.name}_{suffix}")
        axes = [(str(it.axis.attr), it.extent, it in reduce) for it in (*spatial, *reduce)]
        shape = tuple(it.extent for it in spatial) or (1,)
        iters = iters_of(self.state, name, axes)
        buffer = Buffer(buffer_name(self.state, name), i32, shape)
        index = tuple(it.axis for it in iters if not it.reduce) or (const(0, i32),)
        init = Store(buffer, index, const(0, i32))
        body = Store(buffer, index, load(buffer, *index) + value)
        self.names.append(name)
        self.buffers.append(buffer)
        self.stmts.append(nest_of(Block(name, iters, body, init)))
        return buffer
