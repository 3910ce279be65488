"""Contractions with pixels in lanes: their extents, the space of their schedules and its guess."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..extents import meant
from ..knobs import Knob, Point, choice, divisors, number
from .contraction import WORD, Contraction, OfWords
from .packets import Ops
from .template import Estimate
from .tiles import PhaseTimes, Tiles, busiest, walk_of

SHARE = 3 / 4  # of the vector registers, that a tile may plan with
MOST = 32  # registers of words that are dealt together
SPARED = 0.8  # of the tiles, at most, where rows of the padded input are one
BODY = 144  # products of the innermost loop's body, at most
SPLATS = 4  # packets that repeat what is constant of four outputs, twice, in all lanes
INSIDE = ("none", "columns", "taps", "words", "columns and words", "all")


@dataclass(frozen=True, slots=True)
class PixelsPlan(OfWords):
    """The extents of one kernel in this form."""

    images: int
    rows: int
    columns: int  # of a row of the result, all that are stored
    outputs: int  # that are computed: fours
    stored: int  # channels of the result
    words: int  # of four channels of the input
    deep: int  # stored channels of the input
    taps: tuple[int, int]
    stride: tuple[int, int]
    source: tuple[int, int]  # rows and columns of the padded input that are read
    real: int  # outputs that mean something
    early: bool  # the input is copied, then dealt
    pads: bool
    form: str  # what tiles are parts of
    vector: int  # bytes of a register
    inputs: int = 0  # channels whose kernel columns fill words; 0: channels do

    @property
    def flat(self) -> bool:
        return self.form == "image"

    @property
    def tiles(self) -> int:
        """Tiles of 32 columns, of which the last may run on."""
        return -(-self.columns // self.lanes)

    @property
    def width(self) -> int:
        """Columns of a tile, equal ones where they divide a row; each is computed in 32 lanes."""
        width, per = self.columns // self.tiles, max(self.vector // self.stored, 1)
        return width if self.columns % self.tiles == width % per == 0 else self.lanes

    @property
    def whole(self) -> bool:
        return self.columns % self.width == 0

    @property
    def turns(self) -> int:
        """Columns that are read in turns and dealt together: registers of a pixel are apart."""
        return self.stride[1] if self.deep < self.vector else 1

    @property
    def together(self) -> int:
        """Channels whose words are dealt together."""
        return min(self.deep, MOST * WORD // self.turns)

    @property
    def groups(self) -> int:
        """Registers of four outputs by 32 pixels."""
        return self.outputs // WORD

    @property
    def dealt(self) -> bool:
        """Whether outputs are dealt back into pixels."""
        return self.stored > WORD

    @property
    def scratch(self) -> int:
        """Bytes of the padded input and of its words."""
        rows, columns = self.source
        if self.flat:
            return rows * columns * self.deep
        pixels = self.images * rows * (-(-columns // self.lanes) + 2) * self.lanes
        return pixels * self.deep * (2 if self.early else 1)

    @property
    def depth(self) -> int:
        """Words that a sum takes in."""
        return self.words * math.prod(self.taps)


def plan_of(func: PrimFunc, kernel: Contraction) -> PixelsPlan | None:
    """The extents; None where this form does not fit."""
    depth = kernel.depth.extent if kernel.depth else 0
    if kernel.copy is None or len(kernel.taps) != 2 or depth % WORD or not depth or kernel.group:
        return None
    images, rows, columns, stored = kernel.result.shape
    vector, lanes = kernel.vector, kernel.lanes
    real = kernel.real(func)
    outputs = min(-(-real[3] // WORD) * WORD, stored)
    if columns % max(vector // stored, 1) or outputs > 32 or stored > vector:
        return None
    high, across = (axis.extent for axis in kernel.taps)
    down, along = kernel.down, kernel.stride
    copied = kernel.copy
    x = copied.reads[0].buffer
    block = lanes * along
    pads = not kernel.unpadded(rows, columns)
    early = x.shape[2] % block != 0 or copied.axes[2].extent % block != 0
    if along & (along - 1) or (x.shape[3] & (x.shape[3] - 1) and x.shape[3] % vector):
        return None  # words would not be dealt by digits of their number
    if along > MOST:
        return None
    pixels = rows * columns
    single = (images, high, across, down, along) == (1, 1, 1, 1, 1)
    flat = single and not pads and pixels % lanes == 0
    flat = flat and (images, rows, columns) == x.shape[:3]
    source, form = kernel.source(rows, columns), "rows"
    padded = -(-rows * source[1] // lanes)
    if flat:
        images, rows, columns, early, form = 1, pixels // lanes, lanes, False, "image"
        source = rows, columns
    elif down == along == 1 and stored > WORD and padded < SPARED * rows * -(-columns // lanes):
        rows, columns, early, form = padded, lanes, True, "padded"
    return PixelsPlan(images, rows, columns, outputs, stored, depth // WORD, x.shape[3],
                (high, across), (down, along), source, real[3], early, pads, form,
                vector)  # fmt: skip


def by_columns(func: PrimFunc, kernel: Contraction) -> PixelsPlan | None:
    """The extents with kernel columns in words; None where words of channels are no more."""
    plan = plan_of(func, kernel)
    if plan is None or kernel.copy is None or plan.words > 1:
        return None
    real = meant(func, kernel.copy.reads[0].buffer)[3]
    apart = kernel.dot.reads[0].step(kernel.taps[1]) // kernel.input.shape[3]
    reach = -(-((plan.taps[1] - 1) * apart + 1) // WORD)
    if plan.form != "rows" or plan.stride[1] > WORD or real * reach >= plan.taps[1]:
        return None
    return replace(plan, taps=(plan.taps[0], reach), words=real, early=True, inputs=real)


def knobs_of(plan: PixelsPlan) -> tuple[Knob, ...]:
    return (
        choice("rows", divisors(plan.rows, 8)),
        choice("groups", divisors(plan.groups, 4)),
        choice("inside", tuple(_different(plan))),
        choice("share", ("rows", "columns")),
    )


def _different(plan: PixelsPlan) -> list[str]:
    """The parts of a sum that are not the same as an earlier one, of loops of one step."""
    found: dict[tuple[int, int, int], str] = {}
    for inside in INSIDE:
        found.setdefault(written(plan, {"inside": inside}), inside)
    return list(found.values())


def written(plan: PixelsPlan, point: Point) -> tuple[int, int, int]:
    """Kernel rows, kernel columns and words that the innermost loop's body holds."""
    high, across = plan.taps
    return {
        "none": (1, 1, 1),
        "columns": (1, across, 1),
        "taps": (high, across, 1),
        "words": (1, 1, plan.words),
        "columns and words": (1, across, plan.words),
        "all": (high, across, plan.words),
    }[str(point["inside"])]


def spreads(plan: PixelsPlan, machine: Machine) -> bool:
    """Whether bringing what is constant of an output once for each lane takes less than repeating
    it in each tile."""
    repeated = SPLATS * plan.images * plan.rows * plan.tiles * plan.groups / machine.threads
    return repeated > 2 * plan.outputs * plan.vector / machine.dma_rate


def fits(plan: PixelsPlan, machine: Machine, point: Point) -> bool:
    rows, groups = number(point, "rows"), number(point, "groups")
    sums = rows * groups * WORD
    high, across, words = written(plan, point)
    if plan.stride[1] > 1 and across < plan.taps[1] and not plan.inputs:
        return False  # which columns are read depends on the tap
    if point["share"] == "columns" and plan.tiles < 2:
        return False
    if plan.dealt and rows > 1 and rows * plan.stored // WORD > 16:
        return False
    return sums + rows <= SHARE * machine.vectors and sums * high * across * words <= BODY


def apart(plan: PixelsPlan, point: Point) -> bool:
    """Whether results are dealt back in a phase of their own."""
    across = not plan.whole and point["share"] == "columns"
    return plan.dealt and (plan.form == "padded" or across)


def estimate_of(
    plan: PixelsPlan, machine: Machine, made: Ops, others: int, spread: bool, point: Point
) -> Estimate:
    """Tiles of the longest thread, with their way back, once the input is dealt and what is
    constant of outputs is there, ``spread`` over lanes perhaps."""
    rows, groups = number(point, "rows"), number(point, "groups")
    parts = written(plan, point)
    (high, across, words), steps = parts, math.prod(parts)
    outputs = plan.real if groups == plan.groups else groups * WORD
    dots, sums = rows * outputs, rows * groups * WORD
    lines = min(rows * high, (rows - 1) * plan.stride[0] + high) if high > 1 else rows
    body = Ops(dots * steps, dots * steps, 0, lines * across * words, outputs * steps / 2)
    loops = [n for n, m in zip((*plan.taps, plan.words), parts, strict=True) if m == 1 and n > 1]
    extents = {"rows": plan.rows // rows, "columns": plan.tiles, "groups": plan.groups // groups}
    walk = walk_of(extents, point["share"], plan.images, machine)
    items = (dots + outputs) * steps + lines * across * words
    splats = Ops(outputs, 0, outputs, 0, outputs)  # of a number for each output
    splats = Ops(loads=outputs) if spread else splats
    nest = Tiles(walk, (*loops, 1), steps, items, body, splats, splats + made * (sums / WORD), sums,
                 lines)  # fmt: skip
    back = _back(plan, machine, rows) / extents["groups"] if plan.dealt else 0.0
    weights = plan.outputs * math.prod(plan.taps) * plan.words * WORD
    each = nest.cycles(machine, back) + machine.barrier, weights
    edges = _edges(plan, machine) if plan.pads else 0.0
    phases = PhaseTimes(_prepared(plan, machine, point) + edges, [each], math.inf, others, machine)
    return phases.estimate(nest, machine.barrier, edges=edges)


def _back(plan: PixelsPlan, machine: Machine, rows: int) -> float:
    """Cycles in which results of a tile of all outputs are dealt back."""
    registers, per = plan.stored // WORD, max(plan.vector // plan.stored, 1)
    dealt = _dealt(registers, plan.stored / WORD)
    each = replace(dealt, stores=plan.width / per).packets(machine.issue)
    return rows * each + machine.issue.depth


def _edges(plan: PixelsPlan, machine: Machine) -> float:
    """Cycles in which pads are filled, at either end of each row, above all and below."""
    high, wide = plan.source
    words = max(plan.deep // plan.vector, 1) if plan.early else plan.deep // WORD
    sides = busiest(high * plan.images, machine) * words
    return 2 * (sides + -(-wide // plan.lanes) * words + 2 * machine.issue.depth) + machine.barrier


def _prepared(plan: PixelsPlan, machine: Machine, point: Point) -> float:
    """Cycles of the phases that deal the input."""
    lines, issue = plan.source[0] * plan.images / machine.threads, machine.issue
    blocks, count = -(-plan.source[1] // plan.lanes) * lines, plan.deep // WORD
    cycles = blocks * _dealt(count, count).packets(issue) + machine.barrier
    cycles += blocks * count + machine.barrier if plan.early else 0
    cycles += machine.barrier if apart(plan, point) else 0
    if plan.inputs:  # planes, then words of four registers: three of them shifted, all exchanged
        planes = -(-plan.columns * plan.stride[1] // plan.vector) * plan.inputs
        words = _dealt(WORD, WORD) + Ops(permute=WORD - 1, loads=1) + Ops(1, 0, 1, 1, 0, 1)
        cycles += (words.packets(issue) * planes + issue.depth) * lines + 2 * machine.barrier
    return cycles


def _dealt(ways: int, registers: float) -> Ops:
    """Registers loaded, exchanged digit by digit, two at a time, and stored."""
    return Ops(permute=math.log2(max(ways, 1)) / 2, loads=1, stores=1) * registers
