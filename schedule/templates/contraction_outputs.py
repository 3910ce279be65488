"""Contractions with outputs in lanes: accumulator tiles, vectors of weights, scalar inputs.

    parallel rows, columns, channel blocks      the point says which are shared, which innermost
      kh, kw, c/4                               one word of four inputs by 32 outputs a vector
        tile: rows x columns x vectors          all in registers, each word used for all vectors
      requantize the tile                       four accumulators narrow into one register

Channels within a block of 32 * ways are dealt over ``ways`` vectors, so that narrowing, which
interleaves, gives them back in order. A tile of all outputs leaves out vectors that mean nothing,
in the pads of the result; its vectors hold neighbours, and bytes are brought into order at the end.
A tile that is a row leaves out pixels in its pads. Weights are unsigned: two products a packet.
"""

from __future__ import annotations

from functools import partial

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, flag, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD
from .contraction_plan import (
    ContractionPlan,
    lengthen,
    prepared,
    room_of,
    scalar_plan,
    shorten,
)
from .direct import direct
from .packets import Ops, ops_of
from .plans import SPARE
from .template import Estimate, Template
from .tiles import PhaseTimes, Tiles, scalar_tiles, walk_of


def outputs(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with outputs in lanes; None for other kernels."""
    plan = scalar_plan(func, machine.vector_bytes)
    if plan is None:
        return None
    space = Space(_knobs(plan), (partial(_fits, plan, machine),))
    made = ops_of(plan.kernel.last, plan.vector, machine)
    return Template("outputs", func, machine, space,
                    partial(_schedule, plan), partial(_estimate, plan, machine, made))  # fmt: skip


def _knobs(plan: ContractionPlan) -> tuple[Knob, ...]:
    rows = divisors(plan.height, 8)
    blocks = divisors(plan.span // plan.block, 4)
    walk = ("rows", "columns", "channels")[: 3 if plan.blocks > 1 else 2]
    most = plan.words * (plan.taps[1] if plan.foldable else 1)
    return (
        choice("columns", plan.tiles(16)),
        choice("rows", rows),
        choice("blocks", blocks),
        choice("share", walk),
        choice("inner", walk),
        choice("steps", divisors(most, 32)),
        flag("stream"),
    )


def _fits(plan: ContractionPlan, machine: Machine, point: Point) -> bool:
    tile = number(point, "rows") * number(point, "columns")
    vectors = _vectors(plan, point)
    if tile * vectors + vectors + 2 + SPARE > machine.vectors:
        return False
    walk = point["share"], point["inner"]
    if walk[0] == walk[1] or (point["stream"] and ("channels" in walk or plan.blocks == 1)):
        return False
    return tile * vectors * number(point, "steps") <= machine.loops.products


def _plan_of(plan: ContractionPlan, point: Point) -> ContractionPlan:
    """Vectors that mean nothing are left out where a tile has all of them."""
    return plan.shortened() if point["blocks"] == plan.blocks else plan


def _vectors(plan: ContractionPlan, point: Point) -> int:
    """Vectors of outputs of a tile."""
    plan = _plan_of(plan, point)
    return plan.vectors if plan.short else plan.ways * number(point, "blocks")


def _schedule(plan: ContractionPlan, point: Point) -> Schedule:
    columns = number(point, "columns")
    sch = prepared(plan, plan.width(columns)).sch.copy()
    plan, kernel = _plan_of(plan, point), plan.kernel
    near, acc, known = plan.near, kernel.dot.out.buffer.name, kernel.by_output(plan.func)
    if plan.meant(columns) < columns:
        _without_pads(sch, plan, columns)
    if kernel.group is not None:
        _divide(sch, plan)
    if plan.short:
        shorten(sch, plan)
    sch.transform_layout(kernel.weights.name, lambda kh, kw, c, o: (
        o // near, kh, kw, c // WORD, *plan.place(o), c % WORD))  # fmt: skip
    for name in known:
        sch.transform_layout(name, lambda o: (o // near, *plan.place(o)))
    sch.transform_layout(acc, lambda n, h, w, o: (
        n, h, w, *plan.blocks_of(o), *plan.place(o)))  # fmt: skip
    if plan.short:
        lengthen(sch, plan, kernel.weights.name, *known, acc)
    place = _tile_output(sch, plan, point)
    sch.compute_at(kernel.dot.block, place)
    _tile_products(sch, plan, point)
    return sch


def _without_pads(sch: Schedule, plan: ContractionPlan, columns: int) -> None:
    """Leaves out the pixels in the pads of a row: its last one is stored there again."""
    last, dot = plan.kernel.last.block, plan.kernel.dot
    for name in (last, dot.block):
        sch.resize(sch.loops(name)[2], plan.meant(columns))
    sch.trim(dot.out.buffer.name)
    sch.resize(sch.loops(last)[2], columns, "last")


def _divide(sch: Schedule, plan: ContractionPlan) -> None:
    """Iters of a contraction of groups as its sums lie: whole groups and blocks, groups of a block,
    vectors of a group."""
    dot = plan.kernel.dot.block
    sch.divide(sch.loops(plan.kernel.last.block)[3], plan.span)
    if not plan.dealt:
        sch.divide(sch.loops(dot)[4], plan.lanes)
        sch.divide(sch.loops(dot)[3], plan.together)


def _tile_output(sch: Schedule, plan: ContractionPlan, point: Point) -> LoopRef:
    """Tiles the requantization; returns the loop under which a tile is computed."""
    n, h, w, *groups = sch.loops(plan.kernel.last.block)
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    pixels = plan.pixels
    w_0, w_1, w_2 = sch.split(w, (None, number(point, "columns") // pixels, pixels))
    o_0, o_1, o_2, o_3 = _lanes(sch, plan, groups, number(point, "blocks"))
    outer = {"rows": [h_0], "columns": [w_0], "channels": [*groups, o_0]}
    streamed = outer.pop("channels") if point["stream"] else []
    shared, *walk = outer.pop(str(point["share"]))
    inner = outer.pop(str(point["inner"]))
    walk += [loop for loops in (*outer.values(), inner) for loop in loops]
    sch.reorder(n, *streamed, shared, *walk, h_1, w_1, o_1, w_2, o_2, o_3)
    sch.vectorize(w_2, o_2, o_3)
    sch.unroll(h_1, w_1, o_1, *streamed, n)
    sch.parallel(shared)
    return walk[-1]


def _lanes(
    sch: Schedule, plan: ContractionPlan, loops: list[LoopRef], blocks: int
) -> list[LoopRef]:
    """The innermost loops as tiles of ``blocks`` blocks, blocks, vectors, and lanes."""
    if plan.short:
        lane, vector = loops.pop(), loops.pop()
        return [*sch.split(vector, (None, blocks, plan.ways)), lane]
    return sch.split(loops.pop(), (None, blocks, *plan.factors))


def _tile_products(sch: Schedule, plan: ContractionPlan, point: Point) -> None:
    """The reduction over words of four channels, the tile within unrolled."""
    if plan.dealt:
        h, w, *_, o, kh, kw, c = sch.loops(plan.kernel.dot.block)[-6 - bool(plan.kernel.group) :]
        o_1, lane, way = sch.split(o, (None, plan.lanes, plan.ways))
        vectors = [o_1, way]
    elif plan.short:
        h, w, *vectors, lane, kh, kw, c = sch.loops(plan.kernel.dot.block)[-7:]
    else:
        h, w, _, *vectors, lane, kh, kw, c = sch.loops(plan.kernel.dot.block)[-9:]
    words, c_2 = sch.split(c, (None, WORD))
    sch.reorder(kh, kw, words, h, w, *vectors, lane, c_2)
    if plan.foldable:
        words = sch.fuse(kw, words)
    _, c_1 = sch.split(words, (None, number(point, "steps")))
    sch.vectorize(lane, c_2)
    sch.unroll(c_1, h, w, *vectors)


def _nest(plan: ContractionPlan, machine: Machine, made: Ops, point: Point) -> tuple[Tiles, int]:
    """The tiles of a phase, and the number of phases."""
    rows, columns, steps = (number(point, name) for name in ("rows", "columns", "steps"))
    tile, vectors = rows * plan.meant(columns), _vectors(plan, point)
    extents = {"rows": plan.height // rows, "columns": plan.width(columns) // columns,
               "channels": plan.blocks // number(point, "blocks")}  # fmt: skip
    phases = extents.pop("channels") if point["stream"] else 1
    inner = str(point["inner"])
    extents[inner] = extents.pop(inner)
    walk = walk_of(extents, point["share"], plan.images, machine)
    high, wide = plan.taps
    taps = (high, wide * plan.words) if plan.foldable else (high, wide, plan.words)
    dots, head = tile * vectors, Ops(tile * vectors + tile, 0, tile, vectors, tile)
    tail = made * (dots / WORD)
    if _plan_of(plan, point).short:  # bytes are brought into order by two deals
        tail += Ops(2, 0, 2) * (tile * number(point, "blocks"))
    nest = scalar_tiles(walk, (*taps[:-1], taps[-1] // steps), steps,
                        (dots, vectors, tile * plan.together), plan.ways, head, tail)  # fmt: skip
    return nest, phases


def _estimate(plan: ContractionPlan, machine: Machine, made: Ops, point: Point) -> Estimate:
    """Tiles of each phase, once the inputs are summed and its weights are there."""
    width = plan.width(number(point, "columns"))
    inputs = prepared(plan, width)
    nest, count = _nest(plan, machine, made, point)
    room = room_of(plan, width, machine, count)
    beside, ready, body, bodies = 0.0, inputs.ready(machine), nest.body, nest.bodies
    if not room.places:  # each vector of weights comes from DDR each time that it is used
        beside += direct(machine, bodies * body.loads, plan.vector, bodies)
    if not room.near:
        beside += direct(machine, bodies * body.words, WORD, bodies)
        moved = inputs.sch.get_buffer(plan.source(width).name).bytes / plan.vector / machine.threads
        ready += direct(machine, 3 * moved, plan.vector, moved)
    made_of = _plan_of(plan, point)
    each = nest.cycles(machine, beside) + machine.barrier, made_of.weights / count
    phases = PhaseTimes(ready, [each] * count, room.places, made_of.others, machine)
    return phases.estimate(nest, machine.barrier, storing=count)
