"""Folds along elements that lie together, as many results at once as fill a register.

    y[32 i + r] = sum over k of x[32 i + r, k]        lanes r and 32 or more k, a tree of registers

Rows that are no power of two long run on over what changes nothing, in a copy.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import gcd, prod

from ...target.machine_facts import Machine
from ..block_forms import reduction_of
from ..errors import ScheduleError
from ..knobs import Point
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Axis, AxisRun, Form, Structure, runs_of
from .contraction import WORD
from .fold_parts import moved
from .fusing import joined, loops_of, mask_last, partial_results, share, stepped
from .nest import Nest, lanes_of, nest_of
from .packets import BodyCost, Ops, ops_of
from .plans import BlockPlan, NestPlan

LEAST = 16  # elements that are folded at once
FEW = 8  # registers of results


@dataclass(frozen=True, slots=True)
class RowFold(BlockPlan):
    """A fold along ``depth``, which lies together in each operand; results of the last of ``runs``
    lie together."""

    found: Structure
    runs: tuple[AxisRun, ...]
    depth: Axis
    vector: int  # bytes

    @property
    def several(self) -> int:
        """Results of a register."""
        return self.vector // self.found.out.buffer.type.bytes

    @property
    def size(self) -> int:
        return max(use.buffer.type.bytes for use in self.found.reads)

    @property
    def step(self) -> int:
        """Elements that are folded at once: a power of two, up to a register."""
        most = min(self.vector, self.vector**2 // self.several) // self.size
        return next(s for s in _powers(most) if self.depth.extent % s == 0)

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        share(sch, self.lay(sch, block), machine, point)

    def lay(self, sch: Schedule, block: str) -> list[LoopRef]:
        """Fills the lanes; gives the loops around these, those of ``runs``."""
        depth = loops_of(sch, block)[self.depth.var]
        *outer, row = joined(sch, block, self.runs)
        if self.step < self.depth.extent:
            sch.split(depth, (None, self.step))
        loops = sch.loops(block)
        inside = len(loops) - loops.index(row)
        r, blocks = stepped(sch, block, row, self.several)
        for name in blocks:
            i, *folds, lanes = sch.loops(name)[-inside:]
            if folds:
                sch.reorder(*folds, i)
            sch.vectorize(i, lanes)
            mask_last(sch, name, folds)
        return [*outer, r]

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        """A register is loaded, exchanged with another one and folded into it."""
        registers = self.several * self.step * self.size / self.vector * len(self.found.reads)
        turns = prod(a.extent for a in self.found.axes) / self.several / self.step / machine.threads
        made, issue = ops_of(self.found, self.vector // self.size, machine), machine.issue
        tree = Ops(plain=2, permute=1) + made
        body = (tree + Ops(loads=len(self.found.reads))) * registers
        return [
            NestPlan(turns, 1, BodyCost(body.packets(issue), body.count, registers, issue.depth))
        ]


def rows_of(found: Structure, vector: int) -> RowFold | None:
    """How a fold is one of rows; None where its results or what it folds do not lie together, or
    where results are lanes that lie together in the operands."""
    rows = together(found, vector)
    whole = rows is not None and rows.runs[-1].extent >= rows.several
    return rows if rows is not None and whole and rows.step * rows.size >= WORD else None


def together(found: Structure, vector: int) -> RowFold | None:
    """A fold along elements that lie together, of results that do, too."""
    runs = tuple(runs_of(found))
    depth = next((a for a in found.summed if a.extent > 1
                  and all(use.step(a) == 1 for use in found.reads)), None)  # fmt: skip
    if not runs or runs[-1].to != 1 or depth is None or set(runs[-1].come) <= {0, 1}:
        return None
    return RowFold(found, runs, depth, vector)


def run_depth_on(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """Lets what is folded run on to a power of two, or to whole registers, in copies where
    operands have no room."""
    rows = together(found, vector)
    if rows is None or any(use.index[-1] is not rows.depth.var for use in found.reads):
        return {}
    depth, whole = rows.depth, vector // rows.size
    power = 1 << (depth.extent - 1).bit_length()
    extent = power if power < whole else -(-depth.extent // whole) * whole
    if depth.extent % (2 * LEAST) == 0 or extent == depth.extent:
        return {}
    buffers = dict.fromkeys(use.buffer for use in found.reads)
    copies = {
        sch.cache_read(found.block, b.name, "tcm").name: b
        for b in buffers
        if b in sch.logical.params and b.shape[-1] < extent
    }
    sch.resize(loops_of(sch, found.block)[depth.var], extent)
    return moved(sch, copies)


def run_rows_on(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """Lets results run on to whole registers, in copies of what lies outside."""
    rows, params = together(found, vector), sch.logical.params
    if rows is None or rows.runs[-1].extent % rows.several == 0:
        return {}
    outside = dict.fromkeys(use.buffer for use in found.reads if use.buffer in params)
    row = next(axis for axis in found.spatial if axis.var is rows.runs[-1].axes[-1])
    made = found.out.buffer in params
    few = bool(outside) and row.extent < LEAST
    if few if rows.runs[-1].extent < rows.several else not _pays(rows, row, bool(outside) or made):
        return {}
    for buffer in outside:
        sch.cache_read(found.block, buffer.name, "tcm")
    if made:
        sch.cache_write(found.block, found.out.buffer.name, "tcm")
    loop = loops_of(sch, found.block)[row.var]
    sch.resize(loop, -(-row.extent // rows.several) * rows.several)
    return {}


def _pays(rows: RowFold, row: Axis, copied: bool) -> bool:
    """Whether registers that begin with each step around a row are hardly more than otherwise;
    copies pay where they are few, and threads then share these steps."""
    extent, several = rows.runs[-1].extent, rows.several
    whole, others = -(-row.extent // several), extent // row.extent
    hardly = 3 * others * whole <= 4 * -(-extent // several)
    return hardly and (not copied or (1 < others and extent <= FEW * several))


def able(nest: Nest) -> bool:
    """Whether the lanes of a fold or a copy lie together in each operand that they move."""
    if nest.found.form not in (Form.REDUCTION, Form.CONTRACTION, Form.COPY):
        return True
    run = nest.split
    return nest.filled == 1 and run is not None and set(run.come) <= {0, 1}


def whole(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """Rows of whole registers, or of parts of one, where a local result and operands have room."""
    filled = rows_of(found, vector) is not None or nest_of(found, vector).split is not None
    if filled or found.out.buffer in sch.logical.params:
        return {}
    lanes = lanes_of(found, vector)
    column = next((a for a in found.spatial if found.out.step(a) == 1 and a.extent > 1), None)
    if column is None:
        return {}
    power = 1 << (column.extent - 1).bit_length()
    several = prod(axis.extent for axis in found.spatial if axis is not column)
    extent = power if lanes <= power * several < lanes * several else (
        -(-column.extent // lanes) * lanes
    )  # fmt: skip
    params = [use for use in found.reads if use.buffer in sch.logical.params and use.step(column)]
    room = all(use.index[-1] is column.var and use.buffer.shape[-1] >= extent for use in params)
    if extent == column.extent or not room:
        return {}
    with suppress(ScheduleError):
        sch.resize(loops_of(sch, found.block)[column.var], extent)
    return {}


def run_columns_on(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """Lets results beside each other, which are lanes, run on to whole registers, in copies."""
    column = next((a for a in found.spatial if found.out.step(a) == 1 < a.extent), None)
    if column is None or not all(use.step(column) in (0, 1) for use in found.reads):
        return {}
    lanes = lanes_of(found, vector)
    read = [use for use in found.reads if use.step(column)]
    plain = all(use.index[-1] is column.var for use in (found.out, *read))
    nest = nest_of(found, vector)
    few = column.extent < lanes // 4 or (nest.split and able(nest))
    if few or column.extent % lanes == 0 or column.extent > 4 * lanes or not plain:
        return {}
    copies = {sch.cache_read(found.block, use.buffer.name, "tcm").name: use.buffer for use in read}
    sch.cache_write(found.block, found.out.buffer.name, "tcm")
    extent = -(-column.extent // lanes) * lanes
    sch.resize(loops_of(sch, found.block)[column.var], extent)
    return moved(sch, copies)


def in_parts(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """Few results, or rows of several registers: elements as far apart as lanes are folded first,
    into a buffer, then these."""
    chain = _neighbours(found)
    results, terms = (prod(a.extent for a in axes) for axes in (found.spatial, found.summed))
    whole = vector // min(use.buffer.type.bytes for use in found.reads)
    lanes = gcd(prod(axis.extent for axis in chain), whole)
    short = terms < (lanes if results < vector // WORD else 2 * whole)
    if short or lanes < min(vector // WORD, whole):
        return {}
    loops = loops_of(sch, found.block)
    fold = reduction_of(sch.get_block(found.block))
    words = WORD if whole == vector and fold is not None and fold.op == "add" else 1
    every = sch.join(*(loops[axis.var] for axis in chain))
    count = sch.get_loop(every).extent // lanes
    sizes = [n for n in (count, lanes // words, words) if n > 1]
    parts = sch.split(every, sizes) if len(sizes) > 1 else [every]
    partial_results(sch, found.block, parts[count > 1], near=True)
    return {}


def _neighbours(found: Structure) -> list[Axis]:
    """The summed axes that count through neighbouring elements of operands, outermost first."""
    chain, steps = list[Axis](), [{1}, {0, 1}]
    for axis in sorted(found.summed, key=lambda axis: found.reads[0].step(axis)):
        if axis.extent > 1 and {use.step(axis) for use in found.reads} in steps:
            chain.insert(0, axis)
            steps = [{prod(axis.extent for axis in chain)}]
    return chain


def _powers(most: int) -> list[int]:
    return [1 << n for n in range(most.bit_length() - 1, -1, -1)]
