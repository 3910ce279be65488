"""Contractions with outputs in lanes and sums in TCM: threads may share vectors of channels.

    initial sums                               while the first weights arrive
    part of the weights                        a phase each, which waits only for its own slab
      parallel rows, columns or vectors
        kernel rows, columns, words            a tile of sums in registers
    requantize all                             shared as evenly as rows, columns or blocks allow

Parts are groups of channel blocks, of which the first is cut as fine as the point says, into kernel
rows, taps, or pieces of the channels, and others into rows at the most: the first wait is short,
and later ones are none where multiplying takes longer than moving. Where the weights do not fit
into TCM, all groups are cut alike, and weights take turns: each is read from DDR once. There the
knob ``sums`` says whether TCM holds those of all outputs, or of a group at a time. See
``contraction_outputs.py`` for the tile and the order of channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..placing.operands import LARGE
from ..placing.transfers import PLACES
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD
from .contraction_border import LEFT_OUT, BorderAxis, inside_of, without_zeros
from .contraction_cuts import TURNS, Cuts, begins, registers
from .contraction_plan import (
    ContractionPlan,
    prepared,
    scalar_plan,
    slabs_of,
)
from .fusing import even, zoned
from .packets import Ops, ops_of
from .plans import SPARE
from .template import Estimate, Template
from .tiles import PhaseTimes, Walk, scalar_tiles, walk_of

_PARTS = 24  # nests of products that differ, at most: each is code
_BODY = 64  # products of an innermost loop, at most


def parts(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction that fits into TCM, sums included, weights in turns perhaps,
    also of groups that share blocks; None for others."""
    plan = scalar_plan(func, machine.vector_bytes)
    if plan is None or (plan.kernel.group is not None and plan.dealt):
        return None
    inside = tuple(inside_of(plan.kernel, at) for at in range(2))
    cuts = Cuts(plan, _room(func, plan, machine), plan.kernel.others(func), inside)
    if cuts.turning and plan.kernel.group is not None:
        return None
    space = Space(_knobs(cuts), (partial(_fits, cuts, machine),))
    made = ops_of(plan.kernel.last, plan.vector, machine)
    return Template("parts", func, machine, space,
                    partial(_schedule, cuts, machine),
                    partial(_estimate, cuts, machine, made))  # fmt: skip


def _room(func: PrimFunc, plan: ContractionPlan, machine: Machine) -> int:
    """Bytes for sums and weights: exactly only where these may not fit."""
    free = machine.tcm - sum(p.bytes for p in func.params if p != plan.kernel.weights)
    room = free - plan.sources[0].scratch  # at the most
    if room >= plan.weights + registers(plan) * plan.vector:
        return room
    return free - sum(prepared(plan, plan.widths[0]).scratch.values())


def _knobs(cuts: Cuts) -> tuple[Knob, ...]:
    plan = cuts.plan
    sums = (choice("sums", ("all", "group")),) if cuts.turning else ()
    return (
        choice("columns", divisors(plan.widths[0], 16)),
        choice("rows", divisors(plan.height, 16)),
        choice("vectors", divisors(plan.ways if plan.dealt else plan.vectors, 4)),
        choice("group", divisors(plan.blocks, 8) if plan.dealt else (plan.blocks,)),
        choice("share", ("rows", "columns", "vectors")),
        choice("cuts", cuts.values),
        choice("steps", divisors(plan.words, 16)),
        *([choice("zeros", ("multiplied", LEFT_OUT))] if any(cuts.inside) else []),
        *sums,
    )


def _fits(cuts: Cuts, machine: Machine, point: Point) -> bool:
    vectors = number(point, "vectors")
    tile = number(point, "rows") * number(point, "columns") * vectors
    steps, phases = number(point, "steps"), sum(n * slabs for n, _, slabs in cuts.phases(point))
    held = tile + vectors + 2 + SPARE
    if held > machine.vectors or tile < 4 or cuts.words(point) % steps:
        return False
    fits = cuts.places(point) >= PLACES and (cuts.times(point) > 1 or point.get("sums") != "group")
    parted = cuts.parted(point)
    if point.get("zeros") == LEFT_OUT and not (parted and cuts.parts(point) <= _PARTS):
        return False
    return fits and phases <= TURNS and tile * steps <= _BODY


def _schedule(cuts: Cuts, machine: Machine, point: Point) -> Schedule:
    plan, kernel = cuts.plan, cuts.plan.kernel
    sch = prepared(plan, plan.widths[0]).sch.copy()
    slab = slabs_of(plan, cuts.words(point), number(point, "group"))
    sch.transform_layout(kernel.weights.name, slab)
    for name in kernel.by_output(plan.func):
        sch.transform_layout(name, plan.vector_of)
    acc = kernel.dot.out.buffer.name

    def sums(n: Any, h: Any, w: Any, o: Any) -> tuple[Any, ...]:
        vector, lane = plan.vector_of(o)
        return vector, n, h, w, lane

    _outputs(sch, cuts, machine, point)
    sch.transform_layout(acc, sums)
    sch.set_scope(acc, "tcm")
    _products(sch, cuts, point)
    return sch


def _outputs(sch: Schedule, cuts: Cuts, machine: Machine, point: Point) -> None:
    """The requantization, shared by the loop that threads divide best; sums of a group, if they are
    kept one after another, are computed before it."""
    plan, times = cuts.plan, cuts.times(point)
    n, h, w, o = sch.loops(plan.kernel.last.block)
    w_0, w_1 = sch.split(w, (None, plan.pixels))
    *group, o_0, o_1, o_2 = sch.split(o, (*([times] if times > 1 else []), None, *plan.factors))
    order = sorted((h, w_0, o_0), key=lambda loop: -even(sch.get_loop(loop).extent, machine))
    sch.reorder(*group, order[0], n, *order[1:], w_1, o_1, o_2)
    sch.vectorize(w_1, o_1, o_2)
    sch.parallel(order[0])
    sch.unroll(*group)
    for loop in group:
        sch.compute_at(plan.kernel.dot.block, loop)


def _products(sch: Schedule, cuts: Cuts, point: Point) -> None:
    """Initial sums, then a phase for each slab of weights."""
    plan, dot, outer = cuts.plan, cuts.plan.kernel.dot.block, cuts.times(point) > 1
    steps, words = number(point, "steps"), cuts.words(point)
    o_0, v, o_4, o_2 = _vectors(sch, plan, point)
    n, h, w, *_, kh, kw, c = sch.loops(dot)[outer:]
    c_0, c_1, c_2, c_3 = sch.split(c, (None, words // steps, steps, WORD))
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    w_0, w_1 = sch.split(w, (None, number(point, "columns")))
    tiles = {"rows": h_0, "columns": w_0, "vectors": v}
    own = {"rows": (h_0, kh, h_1), "columns": (w_0, kw, w_1)}
    shared = tiles.pop(str(point["share"]))
    walk, within = (shared, n, *tiles.values()), begins(plan, point)
    order = (o_0, *walk, kh, kw, c_0) if within else (kh, kw, c_0, *walk[:2], o_0, *walk[2:])
    sch.reorder(*order, c_1, c_2, h_1, w_1, o_4, o_2, c_3)
    start = sch.decompose_reduction(dot, kh)
    sch.vectorize(o_2, c_3)
    sch.unroll(c_2, h_1, w_1, o_4)
    sch.parallel(shared)
    first, *_, h_1, w_1, o_4, o_2 = sch.loops(start)[outer:]
    sch.vectorize(o_2)
    sch.unroll(h_1, w_1, o_4)
    if within:
        sch.unroll(o_0)
        return
    sch.parallel(first)
    sch.reorder(o_0, kh, kw, c_0, *walk)
    places = {axis: [sch.loops(dot).index(loop) for loop in loops] for axis, loops in own.items()}
    _slabs(sch, cuts, point, o_0, places)


def _slabs(
    sch: Schedule, cuts: Cuts, point: Point, groups: LoopRef, places: Mapping[str, Sequence[int]]
) -> None:
    """A phase for each slab, of those products that are not by zeros; ``places`` has those of the
    loops of each axis: over tiles, over taps, and within a tile."""
    dot, outer, parts = cuts.plan.kernel.dot.block, cuts.times(point) > 1, cuts.phases(point)
    names = zoned(sch, dot, groups, [count for count, *_ in parts])
    for name, (_, depth, _) in zip(names, parts, strict=True):
        loops, order = sch.loops(name), [*range(depth), *range(4, 8), *range(depth, 4)]
        order = [*range(outer), *(outer + at for at in order), *range(outer + 8, len(loops))]
        sch.reorder(*(loops[at] for at in order[outer : outer + 8]))
        sch.unroll(*loops[outer : outer + depth])
        axes = [
            BorderAxis(found, number(point, axis), *(order.index(at) for at in places[axis]))
            for axis, found in cuts.parted(point).items()
        ]
        without_zeros(sch, name, axes, outer + depth)


def _vectors(sch: Schedule, plan: ContractionPlan, point: Point) -> tuple[LoopRef, ...]:
    """The loops of outputs: groups of blocks, vectors of a tile around those in it, lanes."""
    dot, vectors = plan.kernel.dot.block, number(point, "vectors")
    if plan.dealt:
        sizes = number(point, "group"), plan.lanes, plan.ways // vectors, vectors
        o_0, o_1, lane, o_3, o_4 = sch.split(sch.loops(dot)[-4], (None, *sizes))
        sch.reorder(o_1, o_3, lane)
        return o_0, sch.fuse(o_1, o_3), o_4, lane
    sch.divide(sch.loops(dot)[4], plan.lanes)
    *_, group, v, lane, _, _, _ = sch.loops(dot)
    return *sch.split(sch.fuse(group, v), (1, None, vectors)), lane


def _requantized(plan: ContractionPlan, machine: Machine, made: Ops, blocks: int) -> float:
    """Cycles of a phase that requantizes so many blocks: registers of results, in the loops of
    ``_outputs``."""
    loops = [plan.height, plan.widths[0] // plan.pixels, blocks]
    shared, *inner = sorted(loops, key=lambda extent: -even(extent, machine))
    walk = Walk(shared, tuple(inner), plan.images, machine)
    each = (made + Ops(loads=2 * WORD, stores=1)).packets(machine.issue)
    return walk.longest * (each + machine.issue.depth / walk.around) + machine.barrier


def _estimate(cuts: Cuts, machine: Machine, made: Ops, point: Point) -> Estimate:
    """Tiles of each phase, once its weights are there."""
    columns, rows, vectors, group, steps = (
        number(point, name) for name in ("columns", "rows", "vectors", "group", "steps")
    )
    plan, tile, times = cuts.plan, rows * columns, cuts.times(point)
    extents = {"rows": plan.height // rows, "columns": plan.widths[0] // columns,
               "vectors": plan.vectors * group // plan.blocks // vectors}  # fmt: skip
    walk, dots = walk_of(extents, point["share"], plan.images, machine), tile * vectors
    ready = prepared(plan, plan.widths[0]).ready(machine) + machine.barrier
    requant, begin = _requantized(plan, machine, made, plan.blocks // times), 0.0
    if begins(plan, point):
        head = Ops(dots + tile, 0, tile, vectors, tile)
    else:
        head, sums = Ops(loads=dots), registers(plan) / times / machine.threads
        begun, issue = Ops(plain=1, loads=1, stores=1), machine.issue
        begin = begun.packets(issue) * sums + issue.depth + machine.barrier
    nest = scalar_tiles(walk, (1,), steps, (dots, vectors, tile), group * plan.ways,
                        head, Ops(stores=dots))  # fmt: skip
    bodies, products = plan.words * math.prod(plan.taps) // steps, 0.0
    tiles = cuts.tiles(point)
    kept = math.prod(axis.kept(*tiles[name]) for name, axis in cuts.parted(point).items())
    each: list[tuple[float, float]] = []
    for groups, depth, slabs in cuts.phases(point):
        starts = plan.taps[0] if depth == 1 else 1  # a row of taps is one loop
        nest = replace(nest, loops=(starts, bodies // slabs // starts))
        size = plan.weights * group / plan.blocks / slabs
        between = (begin + requant) * (times - 1) / (groups * slabs)
        each += [(nest.cycles(machine) * kept + machine.barrier + between, size)] * (groups * slabs)
        products += nest.products * kept * groups * slabs
    if not cuts.turning and not _large(cuts, point):  # they come at once
        each = [(cycles, 0.0 if n else plan.weights) for n, (cycles, _) in enumerate(each)]
    phases = PhaseTimes(ready + begin, each, cuts.places(point), cuts.others, machine)
    return phases.estimate(
        nest, requant, requant_packets=times * requant, products=products
    )  # fmt: skip


def _large(cuts: Cuts, point: Point) -> bool:
    """Whether slabs are large enough to come one by one, see ``placing/operands``."""
    return cuts.words(point) * WORD * cuts.plan.block * number(point, "group") >= LARGE
