"""Contractions with outputs in lanes and sums in TCM: threads may share vectors of channels.

    initial sums                               while the first weights arrive
    group of channel blocks                    a phase each; the first one in parts, each of which
      parallel rows, columns or vectors          waits only for its own slab of weights
        kernel rows, columns, words            a tile of sums in registers
    requantize all                             shared as evenly as rows, columns or blocks allow

The first group's parts are a kernel row each, the first row's a tap each, the first tap's a part of
the channels each, as fine as the point says: the first wait is short, and later ones are none where
multiplying takes longer than moving. Where the weights do not fit into TCM, every group is cut as
fine as that, and weights take turns: each is read from DDR once. See ``contraction_outputs.py`` for
the tile and the order of channels.
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
from ..placing.transfers import PLACES
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import LANES, VECTOR, WORD
from .contraction_plan import (
    REGISTERS,
    Plan,
    prepared,
    scalar_plan,
    slabs_of,
)
from .fusing import even
from .packets import DEPTH, Ops, ops_of
from .template import Estimate, Template
from .tiles import Phases, Walk, scalar_tiles, walk_of

_PIECES = 4  # parts of the first tap's channels, at most
_TURNS = 200  # phases whose weights take turns, at most: each is code
_BODY = 64  # products of an innermost loop, at most
_CODE = 200  # products of all phases' innermost loops, each of which is code of its own


@dataclass(frozen=True, slots=True)
class _Cuts:
    """How fine the weights may be cut: how many loops over them are phases, of groups of blocks,
    kernel rows, columns, and then, in one number, of so many pieces of the channels."""

    plan: Plan
    room: int  # bytes for the weights
    others: int  # bytes of other constants

    @property
    def turning(self) -> bool:
        """Whether weights take turns, and all groups are cut alike."""
        return self.plan.weights > self.room

    @property
    def values(self) -> tuple[int, ...]:
        """What the knob ``cuts`` may be."""
        pieces = divisors(self.plan.words, _TURNS if self.turning else _PIECES)
        some = pieces[1:] if self.turning else {pieces[-1]} - {1}
        taps = [level for level, extent in enumerate(self.plan.taps, 1) if extent > 1]
        return 0, *taps, *(2 + count for count in some)

    def words(self, point: Point) -> int:
        """Words of four channels in a slab of weights."""
        return self.plan.words // max(number(point, "cuts") - 2, 1)

    def phases(self, point: Point) -> list[tuple[float, int]]:
        """Each phase's part of all weights, and how often its innermost loop starts in a tile."""
        cuts, groups = number(point, "cuts"), self.plan.blocks // number(point, "group")
        return _phases((groups, *self.plan.taps, max(cuts - 2, 1)), min(cuts, 3), self.turning)


def parts(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction that fits into TCM, sums included, weights in turns perhaps,
    also of groups that share blocks; None for others."""
    plan = scalar_plan(func)
    if plan is None or (plan.kernel.group is not None and plan.dealt):
        return None
    others = _sums(plan) * VECTOR + plan.sources[0].scratch
    others += sum(p.bytes for p in func.params if p != plan.kernel.weights)
    cuts = _Cuts(plan, machine.tcm - others, plan.kernel.others(func))
    if others > machine.tcm or (cuts.turning and plan.kernel.group is not None):
        return None
    space = Space(_knobs(cuts), (partial(_fits, cuts),))
    return Template("parts", func, machine, space,
                    partial(_schedule, cuts, machine),
                    partial(_estimate, cuts, machine, _requantized(plan, machine)))  # fmt: skip


def _sums(plan: Plan) -> int:
    """Registers of sums."""
    return plan.images * plan.height * plan.widths[0] * plan.vectors


def _knobs(cuts: _Cuts) -> tuple[Knob, ...]:
    plan = cuts.plan
    return (
        choice("columns", divisors(plan.widths[0], 16)),
        choice("rows", divisors(plan.height, 16)),
        choice("vectors", divisors(plan.ways if plan.dealt else plan.vectors, 4)),
        choice("group", divisors(plan.blocks, 8) if plan.dealt else (plan.blocks,)),
        choice("share", ("rows", "columns", "vectors")),
        choice("cuts", cuts.values),
        choice("steps", divisors(plan.words, 16)),
    )


def _fits(cuts: _Cuts, point: Point) -> bool:
    vectors = number(point, "vectors")
    tile = number(point, "rows") * number(point, "columns") * vectors
    steps, phases = number(point, "steps"), cuts.phases(point)
    if tile + vectors + 2 > REGISTERS or tile < 4 or cuts.words(point) % steps:
        return False
    if cuts.turning:
        slab = cuts.plan.weights * phases[0][0]
        return PLACES * slab <= cuts.room and len(phases) <= _TURNS and tile * steps <= _BODY
    return tile * steps * len(phases) <= max(_CODE, 14 * len(phases)) and tile * steps <= _BODY


def _schedule(cuts: _Cuts, machine: Machine, point: Point) -> Schedule:
    plan, kernel = cuts.plan, cuts.plan.kernel
    sch = prepared(plan, plan.widths[0]).sch.copy()
    slab = slabs_of(plan, cuts.words(point), number(point, "group"))
    sch.transform_layout(kernel.weights.name, slab)
    for name in kernel.by_output(plan.func):
        sch.transform_layout(name, plan.vector)
    acc = kernel.dot.out.buffer.name

    def sums(n: Any, h: Any, w: Any, o: Any) -> tuple[Any, ...]:
        vector, lane = plan.vector(o)
        return vector, n, h, w, lane

    sch.transform_layout(acc, sums)
    sch.set_scope(acc, "tcm")
    _outputs(sch, plan, machine)
    _products(sch, cuts, point)
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


def _products(sch: Schedule, cuts: _Cuts, point: Point) -> None:
    """Initial sums, then the groups; the first in parts."""
    plan, dot = cuts.plan, cuts.plan.kernel.dot.block
    steps, words = number(point, "steps"), cuts.words(point)
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
    levels = min(number(point, "cuts"), 3)
    if not cuts.turning:
        _in_parts(sch, dot, levels)
    _Nest.of(sch, dot).whole(sch, levels + 1)


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


def _depth(level: int, cuts: int) -> int:
    """How many loops are phases in the steps of a level's loop that are left without step 0."""
    return max(level + 1, min(cuts, 2))


def _requantized(plan: Plan, machine: Machine) -> float:
    """Cycles of the last phase: registers of results, in the loops of ``_outputs``."""
    loops = [plan.height, plan.widths[0] // plan.pixels, plan.blocks]
    shared, *inner = sorted(loops, key=lambda extent: -even(extent, machine))
    walk = Walk(shared, tuple(inner), plan.images, machine)
    made = ops_of(plan.kernel.last, VECTOR) + Ops(loads=2 * WORD, stores=1)
    return walk.longest * (made.packets + DEPTH / walk.around) + machine.barrier


def _estimate(cuts: _Cuts, machine: Machine, requant: float, point: Point) -> Estimate:
    """Tiles of each phase, once its weights are there."""
    columns, rows, vectors, group, steps = (
        number(point, name) for name in ("columns", "rows", "vectors", "group", "steps")
    )
    plan, tile = cuts.plan, rows * columns
    extents = {"rows": plan.height // rows, "columns": plan.widths[0] // columns,
               "vectors": plan.vectors * group // plan.blocks // vectors}  # fmt: skip
    walk, dots = walk_of(extents, point["share"], plan.images, machine), tile * vectors
    ready = prepared(plan, plan.widths[0]).ready(machine) + machine.barrier
    if _within(plan, point):
        head = Ops(dots + tile, 0, tile, vectors, tile)
    else:
        head, sums = Ops(loads=dots), _sums(plan) / machine.threads
        ready += Ops(plain=1, loads=1, stores=1).packets * sums + DEPTH + machine.barrier
    nest = scalar_tiles(walk, (1,), steps, (dots, vectors, tile), group * plan.ways,
                        head, Ops(stores=dots))  # fmt: skip
    words = plan.blocks // group * plan.words * math.prod(plan.taps) / steps
    parts = cuts.phases(point)
    nests = {(part, starts): replace(nest, loops=(starts, round(words * part) // starts))
             for part, starts in dict.fromkeys(parts)}  # fmt: skip
    cycles = {part: one.cycles(machine) + machine.barrier for part, one in nests.items()}
    sizes = [plan.weights * part for part, _ in parts]
    if not cuts.turning and not _large(cuts, point):
        sizes = [plan.weights, *(0 for _ in parts[1:])]
    each = list(zip(map(cycles.__getitem__, parts), sizes, strict=True))
    phases = Phases(ready, each, PLACES if cuts.turning else math.inf, cuts.others, machine)
    return phases.estimate(
        nest, requant, tiles=walk.tiles, loop_trips=plan.words / steps, loop_starts=1,
        requant_packets=requant, code=nest.body.multiply * len(parts),
        products=sum(nests[part].products for part in parts),
    )  # fmt: skip


def _large(cuts: _Cuts, point: Point) -> bool:
    """Whether slabs are large enough to come one by one, see ``placing/operands``."""
    return cuts.words(point) * WORD * cuts.plan.block * number(point, "group") >= LARGE


@lru_cache(maxsize=256)
def _phases(extents: tuple[int, ...], cuts: int, turning: bool) -> list[tuple[float, int]]:
    """The phases of loops over groups, taps and pieces of channels."""
    starts = (extents[1], extents[1], 1, 1)  # a row of taps is one loop
    found: list[tuple[float, int]] = []
    for level in range(cuts if turning else 0, cuts + 1):
        depth = cuts + 1 if level == cuts else _depth(level, cuts)
        count = math.prod(extents[0 if turning else level : depth])
        phases = count if level == cuts else count - count // extents[level]
        part = 1 / math.prod(extents[:depth])
        found = [(part, starts[depth - 1] if depth < 2 else 1)] * phases + found
    return found
