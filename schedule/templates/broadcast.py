"""Operators that work point by point where an operand repeats: over pixels, rows, images, channels.

for the loop that threads share best:
    for the others, the innermost unrolled:    128 channels, or several pixels of fewer channels

An operand of few channels that repeats over pixels is first laid out over whole vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, const, load, transform, walk
from ...tir.linear import Linear
from ...tir.stmt import Alloc, Block, Buffer, For, LoopKind, PrimFunc, Stmt, Store, seq
from ...tir.types import i32
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from .elementwise import LANES, packets
from .move import flat_form
from .nests import loop_var, nest, reshaped, times
from .offset import find_block
from .template import Estimate, Template

WORD = 4  # channels that one scalar register moves


@dataclass(frozen=True, slots=True)
class Operand:
    """A load: bytes between steps of each axis, the first byte, and where it is laid out."""

    load: Expr
    steps: tuple[int, ...]
    start: int
    wide: Wide | None = None  # where few channels repeat over pixels


@dataclass(frozen=True, slots=True)
class Wide:
    """Few channels laid out over whole vectors: the axes that choose them, and their bytes' steps
    in the operand, whose first byte is ``start``."""

    buffer: Buffer
    axes: tuple[tuple[str, int], ...]
    steps: tuple[int, ...]
    start: int
    deep: int


@dataclass(frozen=True, slots=True)
class Shape:
    """The loops of a kernel, lanes last: steps of pixels, steps of channels, or both."""

    axes: tuple[tuple[str, int], ...]
    lanes: int  # how many of the axes are lanes
    to: tuple[int, ...]  # the output's bytes between steps of each axis
    start: int
    operands: tuple[Operand, ...]
    store: Store

    @property
    def outer(self) -> list[tuple[str, int]]:
        return list(self.axes[: -self.lanes])


def broadcast(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of operators with an operand that repeats."""
    if func.attrs.get("kind") != "elementwise" or not func.attrs.get("repeats"):
        return None
    shape = shape_of(func)
    if shape is None:
        return None
    each, extents = packets(func), dict(shape.outer)
    shares = tuple(name for name, extent in extents.items() if extent > 1)
    space = Space((choice("share", shares or ("",)), choice("unroll", (1, 2, 4))))

    def schedule(point: Point) -> Schedule:
        return _schedule(func, shape, point)

    def estimate(point: Point) -> Estimate:
        extent, unroll = extents.get(str(point["share"]), 1), number(point, "unroll")
        turns = -(-extent // machine.threads) / extent * prod(extents.values())
        facts = {"inner_packets": each, "loop_trips": turns, "code": unroll}
        return Estimate(turns * (each + 4 / unroll) + 60, facts)

    return Template("broadcast", func, machine, space, schedule, estimate)


def shape_of(func: PrimFunc) -> Shape | None:
    """The loops and operands; None where lanes of an operand neither lie together nor repeat."""
    block = find_block(func.body, "point")
    store = block.body
    assert isinstance(store, Store)
    deep = store.buffer.shape[3]
    extents = {it.axis: it.extent for it in block.iters if it.extent > 1}
    to = _moving(flat_form(store.buffer, store.index), block)
    axes = _axes(extents, to, deep)
    if axes is None:
        return None
    lanes = 1 if deep >= LANES else 2
    operands: list[Operand] = []
    for node in dict.fromkeys(e for e in walk(store.value) if e.op == "load"):
        form = _moving(flat_form(node.attr, node.args), block)
        operand = _operand(node, form, axes, deep, lanes, len(operands))
        if operand is None:
            return None
        operands.append(operand)
    loops = tuple((f"{axis.attr}{mark}", extent) for axis, mark, extent, _ in axes)
    return Shape(loops, lanes, _steps(to, axes), to.constant, tuple(operands), store)


Axis = tuple[Expr, str, int, int]  # a variable, a mark of its part, the part's extent and scale


def _axes(extents: dict[Expr, int], to: Linear, deep: int) -> list[Axis] | None:
    """Outer axes, then lanes; a part of an axis steps by ``scale`` of its values."""
    if not to.terms.keys() <= extents.keys():
        return None
    channel = next((v for v in extents if to.terms.get(v) == 1), None)
    pixel = next((v for v in extents if to.terms.get(v) == deep and v is not channel), None)
    if channel is None or extents[channel] != deep:
        return None
    outer: list[Axis] = [(v, "", n, 1) for v, n in extents.items() if v not in (channel, pixel)]
    if deep >= LANES:
        outer += [(pixel, "", extents[pixel], 1)] if pixel is not None else []
        return [*outer, (channel, "", deep // LANES, LANES), (channel, "_lane", LANES, 1)]
    pixels = LANES // deep
    if pixel is None or extents[pixel] % pixels:
        return None
    outer.append((pixel, "", extents[pixel] // pixels, pixels))
    return [*outer, (pixel, "_lane", pixels, 1), (channel, "_lane", deep, 1)]


def _steps(form: Linear, axes: list[Axis]) -> tuple[int, ...]:
    return tuple(form.terms.get(axis, 0) * scale for axis, _, _, scale in axes)


def _moving(form: Linear, block: Block) -> Linear:
    """``form`` without the axes of one step."""
    fixed = {it.axis for it in block.iters if it.extent == 1}
    return Linear({v: n for v, n in form.terms.items() if v not in fixed}, form.constant)


def _operand(
    node: Expr, form: Linear, axes: list[Axis], deep: int, lanes: int, place: int
) -> Operand | None:
    if not form.terms.keys() <= {axis for axis, _, _, _ in axes}:
        return None
    steps, start = _steps(form, axes), form.constant
    own = steps[-lanes:]
    if own in ((1,), (0,), (deep, 1), (0, 0)):
        return Operand(node, steps, start)
    if own != (0, 1):
        return None
    used = [k for k, step in enumerate(steps[:-lanes]) if step]
    sizes = [axes[k][2] for k in used]
    buffer = Buffer(f"wide{place}", node.attr.type, (prod(sizes) * LANES,), "tcm")
    names = tuple((str(axes[k][0].attr), axes[k][2]) for k in used)
    wide = Wide(buffer, names, tuple(steps[k] for k in used), start, deep)
    rows = dict(zip(used, row_steps(wide), strict=True))
    return Operand(node, (*(rows.get(k, 0) for k in range(len(steps) - 2)), deep, 1), 0, wide)


# The kernel restated --------------------------------------------------------------------------


def _restated(func: PrimFunc, shape: Shape, shared: str) -> PrimFunc:
    """Operands laid out over vectors, then the loops, the shared one outermost."""
    rows = {p: replace(p, shape=(p.size,)) for p in func.params}
    order = sorted(range(len(shape.outer)), key=lambda k: shape.axes[k][0] != shared)
    outer = [shape.axes[k] for k in order]

    def near(operand: Operand) -> Buffer:
        return operand.wide.buffer if operand.wide else rows[operand.load.attr]

    def store(*axes: Expr) -> Store:
        at = [*(axes[order.index(k)] for k in range(len(order))), *axes[len(order) :]]
        values = {o.load: load(near(o), _sum(at, o.steps, o.start)) for o in shape.operands}
        value = transform(shape.store.value, values.get)
        return Store(rows[shape.store.buffer], (_sum(at, shape.to, shape.start),), value)

    body = nest("point", shape.axes[len(outer) :], store, outer)
    for name, extent in reversed(outer):
        kind = LoopKind.PARALLEL if name == shared else LoopKind.SERIAL
        body = For(loop_var(name), extent, kind, body)
    wide = [operand for operand in shape.operands if operand.wide is not None]
    body = seq(*(_laid_out(operand, rows) for operand in wide), body)
    for operand in wide:
        assert operand.wide is not None
        body = Alloc(operand.wide.buffer, body)
    return reshaped(func, rows, body)


def _sum(at: list[Expr], steps: tuple[int, ...], start: int) -> Expr:
    total: Expr = const(start, i32)
    for axis, step in zip(at, steps, strict=True):
        if step:
            term = times(axis, step)
            total = term if total.is_const and not total.attr else total + term
    return total


def _laid_out(operand: Operand, rows: dict[Buffer, Buffer]) -> Stmt:
    """The channels as often as fits a vector, a word at a time."""
    source, wide = rows[operand.load.attr], operand.wide
    assert wide is not None

    def store(*axes: Expr) -> Store:
        *outer, way, word, byte = axes
        inner = times(word, WORD) + byte
        to = _sum([*outer, way], (*row_steps(wide), wide.deep), 0) + inner
        return Store(wide.buffer, (to,), source[_sum(outer, wide.steps, wide.start) + inner])

    axes = (("way", LANES // wide.deep), ("word", wide.deep // WORD), ("byte", WORD))
    return nest(wide.buffer.name, (*wide.axes, *axes), store)


def row_steps(wide: Wide) -> tuple[int, ...]:
    """Bytes between steps of each axis in the laid out form."""
    sizes = [extent for _, extent in wide.axes]
    return tuple(prod(sizes[at + 1 :]) * LANES for at in range(len(sizes)))


# Schedules --------------------------------------------------------------------------------------


def _schedule(func: PrimFunc, shape: Shape, point: Point) -> Schedule:
    sch = Schedule(_restated(func, shape, str(point["share"])))
    for operand in shape.operands:
        if operand.wide is not None:
            *_, way, word, byte = sch.loops(operand.wide.buffer.name)
            sch.vectorize(byte)
            sch.unroll(way)
            sch.unroll(word)
    loops = sch.loops("point")
    outer, lanes = loops[: -shape.lanes], loops[-shape.lanes :]
    sch.vectorize(*lanes)
    unroll = min(number(point, "unroll"), sch.get_loop(outer[-1]).extent) if outer else 1
    if unroll > 1 and (len(outer) > 1 or not point["share"]):
        _, inner, *_ = sch.split(outer[-1], (None, unroll), tail="peel")
        sch.unroll(inner)
    return sch
