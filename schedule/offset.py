"""Unsigned storage for signed weights: sum x*w = sum x*(w + 128) - 128 * sum x.

The machine's fastest dot product takes unsigned bytes on both sides. ``offset_operand`` stores w as
u8 (w + 128) and takes 128 times the sum of the inputs off the accumulator's first value:

    csum[y, z] = sum over c of x[y, z, c]                     once a pixel
    wsum[h, w] = sum over kh, kw of csum[h + kh, w + kw]       once a window
    acc[h, w, o] starts at bias[o] - 128 * wsum[h, w]

All sums are modulo 2**32, so the accumulators are equal bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..tir.expr import Expr, cast, const, load, substitute, var
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, Buffer, Iter, Stmt, Store
from ..tir.types import i8, i32, u8
from .blocks import Reduction, reduction_of
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
from .index import axes_in
from .state import BlockName, State
from .tree import blocks_below

OFFSET = 128
RULE = "the block must be acc = acc + cast(i32, x[...]) * cast(i32, w[...]) with an init"


@dataclass(frozen=True, slots=True)
class Axis:
    """How one dimension of x is read: ``base * step + channel``, channel a reduce iter that no
    other dimension has (None: there is none), base the rest."""

    base: Expr
    channel: Iter | None
    step: int
    size: int

    @property
    def kept(self) -> bool:
        """Whether a sum over the channel still has this dimension."""
        return bool(axes_in(self.base)) or self.channel is None


def offset_operand(state: State, block: BlockName, buffer: str, lanes: int = 1) -> list[str]:
    """Stores constant i8 weights as u8; returns the names of the blocks that sum the inputs.

    With ``lanes`` the sums have that many equal lanes, to be loaded as vectors.
    """
    node, path = state.block("offset_operand", block)
    found, x = _operands(state, node, buffer)
    top = top_of(path)
    for other in blocks_below(top[-1]):
        if any(a.buffer.name == x.attr.name for a in state.accesses(other).writes):
            raise refusal("offset_operand", "the inputs must be complete before the block's loops",
                          f"{other.name}, which writes {x.attr.name} inside", node,
                          "Use offset_operand before compute_at.")  # fmt: skip
    sums = _Sums(state, node, x, lanes)
    stmts, total = sums.build()
    lane = [] if lanes == 1 else [found.index[-1] % lanes]
    assert found.init is not None
    start = found.init - load(total, *sums.spatial_axes, *lane) * OFFSET
    put_before(state, top, *stmts)
    _, path = state.block("offset_operand", block)
    init = Store(found.buffer, found.index, start)
    state.swap(path, replace(node, init=init))
    for new in sums.buffers:
        allocate(state, new)
    weights = state.buffer("offset_operand", buffer)
    replace_buffer(state, buffer, replace(weights, type=u8))
    data = state.func.constants[buffer]
    set_constant(state, buffer, (data.astype(np.int16) + OFFSET).astype(np.uint8))
    return sums.names


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
    if found is None or found.op != "add" or found.init is None or found.value.op != "mul":
        raise refusal("offset_operand", RULE, "another body", block)
    factors = [a.args[0] if a.op == "cast" and a.type == i32 else a for a in found.value.args]
    named = [f.op == "load" and f.attr.name == buffer for f in factors]
    if any(f.op != "load" or not f.type.is_int for f in factors) or sum(named) != 1:
        raise refusal("offset_operand", RULE, "another body", block)
    return found, factors[named.index(False)]


class _Sums:
    """The blocks that sum the inputs of one reduction block."""

    def __init__(self, state: State, block: Block, x: Expr, lanes: int) -> None:
        self.state, self.block, self.x, self.lanes = state, block, x, lanes
        self.names: list[str] = []
        self.buffers: list[Buffer] = []
        used = frozenset[Expr]().union(*map(axes_in, x.args))
        self.spatial = [it for it in block.iters if not it.reduce and it.axis in used]
        self.spatial_axes = [it.axis for it in self.spatial]
        self.reduce = [it for it in block.iters if it.reduce and it.extent > 1]
        idle = [str(it.axis.attr) for it in self.reduce if it.axis not in used]
        if idle:
            raise refusal("offset_operand", "all reduce iters must stand in the inputs' index",
                          ", ".join(idle), block)  # fmt: skip
        ones = {it.axis: const(0, i32) for it in block.iters if it.reduce and it.extent == 1}
        self.index = [substitute(e, ones) for e in x.args]
        self.axes = [self._axis(k) for k in range(len(self.index))]

    def _axis(self, dim: int) -> Axis:
        """The dimension's channel: coefficient 1, alone, all else in whole steps of its extent."""
        form, size = linear(self.index[dim]), self.x.attr.shape[dim]
        for it in self.reduce:
            others = [e for k, e in enumerate(self.index) if k != dim]
            if form.terms.get(it.axis) != 1 or any(it.axis in axes_in(e) for e in others):
                continue
            rest = Linear({a: c for a, c in form.terms.items() if a is not it.axis}, form.constant)
            step = it.extent
            if any(c % step for c in rest.terms.values()) or any(
                it.axis in axes_in(a) for a in rest.terms
            ):
                continue
            if not rest.terms:
                return Axis(const(form.constant, i32), it, 1, size)
            if form.constant % step == 0 and size % step == 0:
                scaled = {a: c // step for a, c in rest.terms.items()}
                base = from_linear(Linear(scaled, form.constant // step))
                return Axis(base, it, step, size // step)
        return Axis(self.index[dim], None, 1, size)

    def build(self) -> tuple[list[Stmt], Buffer]:
        """The new nests, and the buffer that holds the sum of each window."""
        channels = [axis.channel for axis in self.axes if axis.channel is not None]
        window = [it for it in self.reduce if it not in channels]
        if not window:
            source = cast(i32, load(self.x.attr, *self.index))
            return self._sum("csum", self.spatial, channels, source)
        if not channels:
            source = cast(i32, load(self.x.attr, *self.index))
            return self._sum("wsum", self.spatial, window, source)
        stmts, csum = self._channel_sums(channels)
        kept = [axis.base for axis in self.axes if axis.kept]
        lane = [] if self.lanes == 1 else [var("l")]
        more, wsum = self._sum("wsum", self.spatial, window, load(csum, *kept, *lane))
        return [*stmts, *more], wsum

    def _channel_sums(self, channels: Sequence[Iter]) -> tuple[list[Stmt], Buffer]:
        """csum over all positions of x, so that windows that overlap share it."""
        spatial, index = [], []
        for k, axis in enumerate(self.axes):
            place = var(f"d{k}")
            if axis.kept:
                spatial.append(Iter(place, axis.size, False, place))
            base = place if axis.kept else axis.base
            channel = const(0, i32) if axis.channel is None else axis.channel.axis
            index.append(from_linear(linear(base * axis.step + channel)))
        return self._sum("csum", spatial, channels, cast(i32, load(self.x.attr, *index)))

    def _sum(
        self, suffix: str, spatial: Sequence[Iter], reduce: Sequence[Iter], value: Expr
    ) -> tuple[list[Stmt], Buffer]:
        """``buffer[spatial, lane] = sum over reduce of value``."""
        name = self.state.fresh(f"{self.block.name}_{suffix}")
        axes = [(str(it.axis.attr), it.extent, False) for it in spatial]
        if self.lanes > 1:
            axes.append(("l", self.lanes, False))
        shape = tuple(extent for _, extent, _ in axes) or (1,)
        axes += [(str(it.axis.attr), it.extent, True) for it in reduce]
        iters = iters_of(self.state, name, axes)
        buffer = Buffer(buffer_name(self.state, name), i32, shape)
        index = tuple(it.axis for it in iters if not it.reduce) or (const(0, i32),)
        init = Store(buffer, index, const(0, i32))
        body = Store(buffer, index, load(buffer, *index) + value)
        self.names.append(name)
        self.buffers.append(buffer)
        return [nest_of(Block(name, iters, body, init))], buffer
