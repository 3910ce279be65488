"""Operands of dot products freed of a number: signed weights stored unsigned, zero points.

    sum x*w                = sum x*(w + 128) - 128 * sum x
    sum (x + a) * (w + b)  = sum x*(w + b) + sum a*(w + b)

The machine's fastest dot product takes unsigned bytes on both sides. ``offset_operand`` stores i8
weights as u8 (w + 128), or takes out the number that is added to an operand, and puts what is then
missing into the accumulator's first value, as sums of the other operand:

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
from functools import partial
from math import prod

import numpy as np

from ..tir.bounds import bounds as value_bounds
from ..tir.expr import (
    Expr,
    as_type,
    cast,
    const,
    free_vars,
    is_fixed,
    retyped,
    substitute,
    transform,
    var,
)
from ..tir.linear import Linear, from_linear, linear
from ..tir.simplifier import simplify
from ..tir.stmt import Block, Buffer, Iter, Stmt, Store, load
from ..tir.types import i8, i32, u8
from .block_forms import Reduction, extents_of, is_map, reduction_of
from .errors import refusal
from .index import UNKNOWN, form_bounds
from .new_nests import (
    Array,
    allocate,
    buffer_name,
    exchange,
    iters_of,
    put_before,
    rewritten,
    top_of,
)
from .separate import separated
from .state import BlockName, BlockRef, ScheduleState
from .tree import blocks_below

OFFSET = 128
RULE = "the block must be acc = acc + cast(i32, x[...]) * cast(i32, w[...]) with an init"


@dataclass(frozen=True, slots=True)
class Factor:
    """An operand of a product: what is loaded, and the number that is added to it."""

    load: Expr
    number: Expr | None


def offset_operand(state: ScheduleState, block: BlockName, buffer: str) -> list[BlockRef]:
    """Stores an i8 operand of a dot product, a constant or what a map fills, as u8 (plus 128), or
    takes out the number that is added to it; returns the blocks that sum the other operand:
    ``*_csum`` (channels), ``*_vsum`` and ``*_wsum`` (windows), where each is needed."""
    node, path = state.block(block)
    node = _in_words(node)
    state.swap(path, node)
    found, own, other = _factors(node, buffer)
    if own.number is None:
        _check_own(state, node, buffer)
    name = other.load.attr.name
    for inner in blocks_below(top_of(path)[-1]):
        if any(a.buffer.name == name for a in state.accesses(inner).writes):
            raise refusal("the inputs must be complete before the block's loops",
                          f"{inner.name}, which writes {name} inside", node,
                          "Use offset_operand before compute_at.")  # fmt: skip
    taken = None if own.number is None else _negative(own.number)
    sums = _InputSums(state, node, other.load, own.load, taken)
    total, names = sums.build()
    assert found.init is not None
    _, path = state.block(block)
    init = found.init
    if taken is not None and other.number is not None:
        init = simplify(init + taken * _negative(other.number) * sums.count)
    init = init - (total * OFFSET if taken is None else total)
    start = Store(found.buffer, found.index, init)
    body = node.body if taken is None else _freed(own, node.body)
    state.swap(path, replace(node, init=start, body=body))
    if taken is None:
        unsigned = replace(state.buffer(buffer), type=u8)
        exchange(state, buffer, [unsigned], partial(_unsigned, unsigned), _more)
    return [BlockRef(name) for name in names]


def _unsigned(buffer: Buffer, block: Block) -> Block:
    """A block on bytes that are more by 128; products are of the operands' types."""

    def node(expr: Expr) -> Expr:
        own = expr.op == "load" and expr.attr.name == buffer.name
        return load(buffer, *expr.args) if own else retyped(expr)

    def store(stmt: Store) -> Store:
        if stmt.buffer.name != buffer.name:
            return stmt
        return Store(buffer, stmt.index, cast(u8, stmt.value) + const(OFFSET, u8))

    return rewritten(block, node, store)


def _more(values: Array) -> list[Array]:
    return [(values.astype(np.int16) + OFFSET).astype(np.uint8)]


def _freed(own: Factor, body: Stmt) -> Store:
    """A store with an operand less its number."""
    assert isinstance(body, Store)

    def node(expr: Expr) -> Expr | None:
        return cast(i32, own.load) if _factor(expr) == own and expr.type == i32 else None

    return replace(body, value=transform(body.value, node))


def _negative(number: Expr) -> Expr:
    """The number with the other sign; a hole as the byte that it is."""
    less = number.op == "sub" and number.args[0].is_const and number.args[0].attr == 0
    taken = number.args[1] if less else simplify(const(0, i32) - number)
    small = taken.op == "hole" and taken.attr.low >= 0 and taken.attr.high < 256
    return cast(i32, as_type(taken, u8)) if small else taken


def _check_own(state: ScheduleState, block: Block, buffer: str) -> None:
    weights = state.buffer(buffer)
    writers = [other for other, _ in state.writers(buffer)]
    local = all(p.name != buffer for p in state.func.params)
    filled = local and len(writers) == 1 and is_map(writers[0])
    if weights.type != i8 or not (filled or buffer in state.func.constants):
        raise refusal("the operand must be of i8, a constant or what one map "
                      "fills, or have a number added", f"{buffer}: {weights.type}")  # fmt: skip
    users = [b.name for b, _ in state.placed() if state.accesses(b).of(buffer)]
    users = [name for name in users if all(name != other.name for other in writers)]
    if users != [block.name]:
        raise refusal("only the block may read the operand", ", ".join(users), block)


def _in_words(block: Block) -> Block:
    """A sum of products whose factors are made in words, as those of halfwords are."""
    found = reduction_of(block)
    product = None if found is None else _widened(found.value)
    if found is None or product is None or product.op != "widening_mul":
        return block
    if all(arg.op != "add" for arg in product.args):
        return block
    first, second = map(_word, product.args)
    value = load(found.buffer, *found.index) + first * second
    return replace(block, body=Store(found.buffer, found.index, value))


def _word(value: Expr) -> Expr:
    """A factor as a word: of a sum with a number both, where the sum fits its type."""
    word = value if value.type == i32 else cast(i32, value)
    if value.op == "add" and is_fixed(value.args[1]):
        word = _word(value.args[0]) + _word(value.args[1])
    elif value.op == "cast" and value.args[0].type.is_int:
        word = _word(value.args[0])
    low, high = value_bounds(word, {})
    return word if value.type.low <= low and high <= value.type.high else cast(i32, value)


def _factors(block: Block, buffer: str) -> tuple[Reduction, Factor, Factor]:
    """The reduction, its operand of ``buffer``, and the other one."""
    found = reduction_of(block)
    product = None if found is None else _widened(found.value)
    if found is None or product is None or found.op != "add" or found.init is None:
        raise refusal(RULE, "another body", block)
    known = product.op in ("mul", "widening_mul")
    factors = [_factor(arg) for arg in product.args] if known else []
    named = [f for f in factors if f is not None and f.load.attr.name == buffer]
    others = [f for f in factors if f is not None and f not in named]
    if len(named) != 1 or len(others) != 1:
        raise refusal(RULE, "another body", block)
    return found, named[0], others[0]


def _factor(value: Expr) -> Factor | None:
    """An operand of a product as a load and a number."""
    number = None
    if value.op == "add" and value.type == i32 and is_fixed(value.args[1]):
        value, number = value.args
    source = _widened(value)
    if source is None and number is None:
        source = value
    if source is None or source.op != "load" or not source.type.is_int:
        return None
    return Factor(source, number)


def _widened(value: Expr) -> Expr | None:
    """What a cast to i32 takes, or an i32 itself."""
    if value.op == "cast" and value.type == i32:
        return value.args[0]
    return value if value.type == i32 else None


@dataclass(frozen=True, slots=True)
class WindowDim:
    """How one dimension of x is read: ``(start + window) * step + channel``. Start is of spatial
    iters, window of reduce iters; channel is a reduce iter with a coefficient of 1, or none."""

    start: Linear
    window: Linear
    step: int
    channel: Iter | None
    size: int  # of the dimension, in steps

    @property
    def kept(self) -> bool:
        """Whether sums over the channel still have this dimension."""
        return bool(self.start.terms or self.window.terms)

    def index(self, begin: Expr) -> Expr:
        """The index of x where windows begin at ``begin``."""
        form = linear(begin).plus(self.window).times(self.step)
        return from_linear(form if self.channel is None else form.plus(linear(self.channel.axis)))


class _InputSums:
    """The sums of the inputs of one reduction block, each ``factor`` times."""

    def __init__(
        self, state: ScheduleState, block: Block, x: Expr, weights: Expr, factor: Expr | None
    ) -> None:
        self.state, self.block, self.factor = state, block, factor
        self.x, self.weights = x, weights
        self.spatial = {it.axis: it for it in block.iters if not it.reduce}
        reduce = [it for it in block.iters if it.reduce]
        several = [it for it in reduce if it.extent > 1] or reduce[-1:]
        self.reduce = {it.axis: it for it in several}
        ones = {it.axis: const(0, i32) for it in reduce if it not in several}
        index = [linear(substitute(e, ones)) for e in x.args]
        for axis in self.reduce:
            found = [form.terms for form in index if any(axis in free_vars(a) for a in form.terms)]
            if len(found) != 1 or axis not in found[0]:
                raise refusal("each reduce iter must stand in one dimension of "
                              "the inputs' index", str(axis.attr), block)  # fmt: skip
        sizes = zip(index, x.attr.shape, strict=True)
        self.dims = [self._dim(form, size, form is index[-1]) for form, size in sizes]
        self.kept = [dim for dim in self.dims if dim.kept]
        self.last = max((k for k, dim in enumerate(self.kept) if not self._batch(dim)), default=0)

    def _dim(self, form: Linear, size: int, last: bool) -> WindowDim:
        step, channel = 1, None
        for axis, it in self.reduce.items():
            others = form.plus(linear(axis), -1)
            deep = it.extent if others.terms else 1
            near = others.divided(deep)[1]
            whole = not near.terms and not near.constant and (last or not others.terms)
            if form.terms.get(axis) == 1 and whole:
                form, step, channel = others.divided(deep)[0], deep, it
                break
        window = form.only(self.reduce.__contains__)
        return WindowDim(form.plus(window, -1), window, step, channel, size // step)

    @property
    def count(self) -> int:
        """The terms of a sum."""
        return prod(it.extent for it in self.reduce.values())

    def build(self) -> tuple[Expr, list[str]]:
        """Makes the blocks; gives the sum that belongs to an accumulator, and their names."""
        places = [self._place(k) for k in range(len(self.kept))]
        starts = [from_linear(dim.start) for dim in self.kept]
        shared = [place.axis in self.spatial for place in places]
        begins = [s if same else p.axis for s, same, p in zip(starts, shared, places, strict=True)]
        left = iter(begins)
        value = cast(i32, load(self.x.attr, *(
            dim.index(next(left) if dim.kept else from_linear(dim.start)) for dim in self.dims
        )))  # fmt: skip
        channels = {dim.channel.axis for dim in self.dims if dim.channel is not None}
        *others, last = [{*dim.window.terms} for dim in self.kept if dim.window.terms] or [channels]
        name, buffer = self._sum("wsum" if last is not channels else "csum", places,
                                 value if self.factor is None else value * self.factor)  # fmt: skip
        stages = [("csum", channels)] if channels and last is not channels else []
        names = [
            separated(self.state, self.state.block(name)[0], axes,
                      f"{self.block.name}_{suffix}", buffer.scope)
            for suffix, axes in [*stages, *(("vsum", axes) for axes in others)]
        ]  # fmt: skip
        allocate(self.state, buffer)
        ends = [p.axis if same else s for s, same, p in zip(starts, shared, places, strict=True)]
        return load(buffer, *(ends or [const(0, i32)])), [*names, name]

    def _place(self, k: int) -> Iter:
        """The iter of a kept dimension in sums: the spatial one that alone moves it, or one of its
        own over where windows begin. In the last dimension that all outputs share, neighbours stay
        neighbours."""
        dim = self.kept[k]
        others = [atom for d in self.kept if d is not dim for atom in d.start.terms]
        (axis, *more) = dim.start.terms or [const(0, i32)]
        alone = axis in self.spatial and not more and not any(axis in free_vars(e) for e in others)
        near = k < self.last or dim.start == Linear({axis: 1}, 0)
        if alone and near:
            return self.spatial[axis]
        _, high = form_bounds(dim.start, extents_of(self.block.iters))
        return Iter(var(f"d{k}"), dim.size if high >= UNKNOWN[1] else high + 1, False, var(f"d{k}"))

    def _batch(self, dim: WindowDim) -> bool:
        """Whether a dimension is of an axis that moves the weights, too."""
        start = from_linear(dim.start)
        return any(start in free_vars(e) for e in self.weights.args)

    def _sum(self, suffix: str, spatial: Sequence[Iter], value: Expr) -> tuple[str, Buffer]:
        """``buffer[spatial] = sum over the reduce iters of value``, in loops of its own."""
        name = self.state.fresh(f"{self.block.name}_{suffix}")
        reduce = self.reduce.values()
        axes = [(str(it.axis.attr), it.extent, it in reduce) for it in (*spatial, *reduce)]
        shape = tuple(it.extent for it in spatial) or (1,)
        iters = iters_of(self.state, name, axes)
        buffer = Buffer(buffer_name(self.state, name), i32, shape)
        index = tuple(it.axis for it in iters if not it.reduce) or (const(0, i32),)
        init = Store(buffer, index, const(0, i32))
        body = Store(buffer, index, load(buffer, *index) + value)
        put_before(self.state, self.block.name, Block(name, iters, body, init))
        return name, buffer
