"""Contractions with outputs in lanes and sums in TCM: threads may share vectors of channels.

    initial sums                               while the first weights arrive
    group of channel blocks                    a phase each; the first one in parts, each of which
      parallel rows, columns or vectors          waits only for its own slab of weights
        kernel rows, columns, words            a tile of sums in registers
    requantize all                             shared as evenly as rows, columns or blocks allow

The first group's parts are a kernel row each, the first row's a tap each, the first tap's a part of
the channels each, as fine as the point says: the first wait is short, and later ones are none where
multiplying takes longer than moving. See ``contraction_outputs.py`` for the tile and the order of
channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..placing.operands import LARGE
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import LANES, VECTOR, WORD
from .contraction_plan import (
    REGISTERS,
    Beginning,
    Plan,
    beginning,
    plan_for,
    scratch_of,
    slabs_of,
    sum_cycles,
)
from .fusing import even
from .packets import DEPTH, Ops, ops_of
from .template import Estimate, Template
from .tiles import Tiles, around, busiest, products

_PIECES = 4  # parts of the first tap's channels, at most
_BODY = 64  # products of an innermost loop, at most
_CODE = 200  # products of all phases' innermost loops, each of which is code of its own


def parts(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction that fits into TCM, sums included, also of groups that share
    blocks; None for others."""
    plan = plan_for(func) or plan_for(func, grouped=True)
    if plan is None or (plan.kernel.group is not None and plan.dealt):
        return None
    wanted = _sums(plan) * VECTOR
    wanted += sum(scratch_of(plan, plan.sources[0]).values()) + sum(p.bytes for p in func.params)
    if wanted > machine.tcm:
        return None
    space = Space(_knobs(plan), (partial(_fits, plan),))
    return Template("parts", func, machine, space,
                    partial(_schedule, beginning(func, plan), func, plan, machine),
                    partial(_estimate, plan, machine, _requantized(plan, machine)))  # fmt: skip


def _sums(plan: Plan) -> int:
    """Registers of sums."""
    return plan.images * plan.height * plan.widths[0] * plan.vectors


def _pieces(plan: Plan) -> int:
    return divisors(plan.words, _PIECES)[-1]


def _knobs(plan: Plan) -> tuple[Knob, ...]:
    kernel_rows, kernel_columns = plan.taps
    cuts = [0]
    cuts += [1] if kernel_rows > 1 else []
    cuts += [2] if kernel_columns > 1 else []
    cuts += [3] if _pieces(plan) > 1 else []
    columns = divisors(plan.widths[0], 16)
    return (
        choice("columns", columns),
        choice("rows", divisors(plan.height, 16)),
        choice("vectors", divisors(plan.ways if plan.dealt else plan.vectors, 4)),
        choice("group", divisors(plan.blocks, 8) if plan.dealt else (plan.blocks,)),
        choice("share", ("rows", "columns", "vectors")),
        choice("cuts", tuple(cuts)),
        choice("steps", divisors(plan.words, 16)),
    )


def _words(plan: Plan, point: Point) -> int:
    """Words of four channels in a slab of weights."""
    return plan.words // (_pieces(plan) if point["cuts"] == 3 else 1)


def _fits(plan: Plan, point: Point) -> bool:
    vectors = number(point, "vectors")
    tile = number(point, "rows") * number(point, "columns") * vectors
    steps = number(point, "steps")
    if tile + vectors + 2 > REGISTERS or tile < 4:
        return False
    groups = plan.blocks // number(point, "group")
    phases = len(_parts(plan.taps, _pieces(plan), number(point, "cuts"), groups))
    if tile * steps * phases > max(_CODE, 14 * phases):
        return False
    return _words(plan, point) % steps == 0 and tile * steps <= _BODY


def _schedule(
    begin: Beginning, func: PrimFunc, plan: Plan, machine: Machine, point: Point
) -> Schedule:
    sch, kernel = begin(plan.widths[0]), plan.kernel
    slab = slabs_of(plan, _words(plan, point), number(point, "group"))
    sch.transform_layout(kernel.weights.name, slab)
    for name in kernel.by_output(func):
        sch.transform_layout(name, plan.vector)
    acc = kernel.dot.out.buffer.name

    def sums(n: Any, h: Any, w: Any, o: Any) -> tuple[Any, ...]:
        vector, lane = plan.vector(o)
        return vector, n, h, w, lane

    sch.transform_layout(acc, sums)
    sch.set_scope(acc, "tcm")
    _outputs(sch, plan, machine)
    _products(sch, plan, point)
    return sch


def _outputs(sch: Schedule, plan: Plan, machine: Machine) -> None:
    """The requantization, shared by the loop that threads divide best."""
    n, h, w, o = sch.loops(plan.kernel.last.block)
    w_0, w_1 = sch.split(w, (None, plan.pixels))
    o_0, o_1, o_2 = sch.split(o, (None, *plan.lanes))
    order = sorted((h, w_0, o_0), key=lambda loop: -even(sch.get_loop(loop).extent, machine))
    sch.reorder(order[0], n, *order[1:], w_1, o_1, o_2)
    sch.vectorize(w_1, o_1, o_2)
    sch.parallel(order[0])


@dataclass(frozen=True, slots=True)
class _Nest:
    """The loops of a nest of products: ``outer`` the groups of channels, then the reduction."""

    block: str
    group: LoopRef
    taps: tuple[LoopRef, ...]  # kernel rows, columns, parts of the channels
    tiles: tuple[LoopRef, ...]  # the shared loop first
    rest: tuple[LoopRef, ...]

    @staticmethod
    def of(sch: Schedule, block: str) -> _Nest:
        group, kh, kw, c, shared, n, first, second, *rest = sch.loops(block)
        return _Nest(block, group, (kh, kw, c), (shared, n, first, second), tuple(rest))

    def whole(self, sch: Schedule, levels: int) -> None:
        """Steps of the first ``levels`` of the loops over groups and taps are phases; the others
        run within a tile."""
        for loop in (self.group, *self.taps)[:levels]:
            sch.unroll(loop)
        if levels < 4:
            sch.reorder(*self.tiles, *self.taps[levels - 1 :])


def _products(sch: Schedule, plan: Plan, point: Point) -> None:
    """Initial sums, then the groups; the first in parts."""
    dot = plan.kernel.dot.block
    steps, words = number(point, "steps"), _words(plan, point)
    o_0, v, o_4, o_2 = _vectors(sch, plan, point)
    n, h, w, *_, kh, kw, c = sch.loops(dot)
    c_0, c_1, c_2, c_3 = sch.split(c, (None, words // steps, steps, 4))
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    w_0, w_1 = sch.split(w, (None, number(point, "columns")))
    tiles = {"rows": h_0, "columns": w_0, "vectors": v}
    shared = tiles.pop(str(point["share"]))
    outer, taps = (shared, n, o_0, *tiles.values()), (kh, kw, c_0)
    within = _within(plan, point)
    order = (o_0, shared, n, *tiles.values(), *taps) if within else (*taps, *outer)
    sch.reorder(*order, c_1, c_2, h_1, w_1, o_4, o_2, c_3)
    start = sch.decompose_reduction(dot, kh)
    sch.vectorize(o_2, c_3)
    sch.unroll(c_2, h_1, w_1, o_4)
    sch.parallel(shared)
    first, *_, h_1, w_1, o_4, o_2 = sch.loops(start)
    sch.vectorize(o_2)
    sch.unroll(h_1, w_1, o_4)
    if within:
        sch.unroll(o_0)
        return
    sch.parallel(first)
    sch.reorder(o_0, *taps, shared, n)
    _in_parts(sch, dot, number(point, "cuts"))


def _within(plan: Plan, point: Point) -> bool:
    """Whether a tile begins with its initial sums: weights of groups are too few to wait for."""
    return plan.kernel.group is not None and point["cuts"] == 0


def _vectors(sch: Schedule, plan: Plan, point: Point) -> tuple[LoopRef, ...]:
    """The loops of outputs: groups of blocks, vectors of a tile around those in it, lanes."""
    dot, vectors = plan.kernel.dot.block, number(point, "vectors")
    if plan.dealt:
        sizes = number(point, "group"), LANES, plan.ways // vectors, vectors
        o_0, o_1, lane, o_3, o_4 = sch.split(sch.loops(dot)[3], (None, *sizes))
        sch.reorder(o_1, o_3, lane)
        return o_0, sch.fuse(o_1, o_3), o_4, lane
    sch.divide(sch.loops(dot)[4], LANES)
    *_, group, v, lane, _, _, _ = sch.loops(dot)
    return *sch.split(sch.fuse(group, v), (1, None, vectors)), lane


def _in_parts(sch: Schedule, dot: str, cuts: int) -> None:
    """Peels the first group, of it the first kernel row, of that the first tap."""
    for level in range(cuts):
        nest = _Nest.of(sch, dot)
        loop = (nest.group, *nest.taps)[level]
        known = {block.name for block in sch.blocks()}
        if sch.get_loop(loop).extent > 1:
            sch.split(loop, (1,), tail="peel")
            (rest,) = {block.name for block in sch.blocks()} - known
            _Nest.of(sch, rest).whole(sch, _depth(level, cuts))
    _Nest.of(sch, dot).whole(sch, cuts + 1)


def _depth(level: int, cuts: int) -> int:
    """How many loops are phases in the steps of a level's loop that are left without step 0."""
    return max(level + 1, min(cuts, 2))


def _requantized(plan: Plan, machine: Machine) -> float:
    """Cycles of the last phase: registers of results, in the loops of ``_outputs``."""
    loops = [plan.height, plan.widths[0] // plan.pixels, plan.blocks]
    shared, *inner = sorted(loops, key=lambda extent: -even(extent, machine))
    made = ops_of(plan.kernel.last, VECTOR) + Ops(loads=2 * WORD, stores=1)
    registers = busiest(shared, machine) * plan.images * math.prod(inner)
    return registers * (made.packets + DEPTH / around(inner, shared, machine))


def _estimate(plan: Plan, machine: Machine, requant: float, point: Point) -> Estimate:
    """Tiles of each phase, once its weights are there."""
    columns, rows, vectors, group, steps = (
        number(point, name) for name in ("columns", "rows", "vectors", "group", "steps")
    )
    extents = {"rows": plan.height // rows, "columns": plan.widths[0] // columns,
               "vectors": plan.vectors * group // plan.blocks // vectors}  # fmt: skip
    shared, inner = extents.pop(str(point["share"])), extents.values()
    busy, dots = busiest(shared, machine), rows * columns * vectors
    body = products(dots, vectors, rows * columns, group * plan.ways, steps)
    sums = _sums(plan) / machine.threads
    extra, head = sum_cycles(plan, plan.sources[0], machine, True), Ops(loads=dots)
    if _within(plan, point):
        head = Ops(dots + rows * columns, 0, rows * columns, vectors, rows * columns)
    else:
        extra += Ops(plain=1, loads=1, stores=1).packets * sums + DEPTH + machine.barrier
    items = (dots + vectors + rows * columns) * steps
    nest = Tiles(plan.images * math.prod(inner) * busy, around(inner, shared, machine), (1,), steps,
                 items, body, head, Ops(stores=dots), dots, vectors)  # fmt: skip
    weights, slabs = plan.weights / machine.dma_rate, _slabs(plan, point)
    parts = _parts(plan.taps, _pieces(plan), number(point, "cuts"), plan.blocks // group)
    words = plan.blocks // group * plan.words * math.prod(plan.taps) / steps
    nests = {(part, starts): replace(nest, loops=(starts, round(words * part) // starts))
             for part, starts in dict.fromkeys(parts)}  # fmt: skip
    cycles = {part: one.each(machine) * one.tiles for part, one in nests.items()}
    now, moved = extra + machine.barrier, machine.dma_start + (0 if slabs else weights)
    first = moved + (weights * parts[0][0] if slabs else 0)
    for part in parts:
        moved += weights * part[0] if slabs else 0
        now = max(now, moved) + cycles[part] + machine.barrier
    tiles = nest.tiles * shared / busy
    facts = nest.facts(tiles) | {
        "loop_trips": plan.words / steps, "requant_packets": requant, "extra_packets": extra,
        "phases": len(parts), "dma_cycles": weights, "first_wait": first,
        "unbalance": busy * machine.threads / shared, "code": body.multiply * len(parts),
        "products": sum(nests[part].facts(tiles)["products"] for part in parts),
    }  # fmt: skip
    return Estimate(now + requant + machine.barrier, facts)


def _slabs(plan: Plan, point: Point) -> bool:
    """Whether slabs are large enough to come one by one, see ``placing/operands``."""
    return _words(plan, point) * 4 * plan.block * number(point, "group") >= LARGE


@lru_cache(maxsize=256)
def _parts(taps: tuple[int, int], pieces: int, cuts: int, groups: int) -> list[tuple[float, int]]:
    """The phases: their part of all weights, and how often the innermost loop starts in a tile."""
    (high, wide), last = taps, pieces if cuts == 3 else 1
    extents = (groups, high, wide, last)
    starts = (high, high, 1, 1)  # a row of taps is one loop
    found: list[tuple[float, int]] = []
    for level in range(cuts + 1):
        depth = cuts + 1 if level == cuts else _depth(level, cuts)
        count = math.prod(extents[level:depth])
        steps = extents[level] - (level < cuts)
        phases = count // extents[level] * steps
        part = 1 / math.prod(extents[:depth])
        found = [(part, starts[depth - 1] if depth < 2 else 1)] * phases + found
    return found
