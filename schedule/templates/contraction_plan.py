"""Contractions with outputs in lanes: their extents, and which of their buffers TCM can hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...target.dsp.machine import Machine
from ...tir.stmt import Alloc, PrimFunc, walk_stmt
from ..knobs import divisors
from ..placing.transfers import PLACES
from ..schedule import Schedule
from .contraction import LANES, VECTOR, WORD, Kernel, kernel_of
from .contraction_inputs import Source, prepare, source_of
from .direct import direct

REGISTERS = 30  # vector registers that a tile may plan with
Beginning = Callable[[int], Schedule]  # of so many columns of the result


@dataclass(frozen=True, slots=True)
class Plan:
    """The loop extents of one kernel, and how its output's channels fill vectors."""

    kernel: Kernel
    images: int
    height: int
    widths: tuple[int, ...]  # columns that may be computed, fewest first
    outputs: int
    taps: tuple[int, int]
    words: int  # of four input channels
    foldable: bool  # whether a row of taps is consecutive in memory
    sources: tuple[Source, ...]  # what each of the widths reads

    def width(self, columns: int) -> int:
        """Columns that are computed by tiles of ``columns``, the fewest."""
        return next(width for width in self.widths if width % columns == 0)

    def tiles(self, most: int) -> tuple[int, ...]:
        """The columns that a tile may have, up to ``most``: whole registers of the result."""
        found = {d for width in self.widths for d in divisors(width)}
        return tuple(sorted(d for d in found if d % self.pixels == 0 and d <= most))

    def source(self, width: int) -> Source:
        """What so many columns read."""
        return self.sources[self.widths.index(width)]

    @property
    def ways(self) -> int:
        """Vectors of 32 channels that one register of bytes holds."""
        return min(self.outputs, VECTOR) // LANES

    @property
    def block(self) -> int:
        """Channels that are stored together."""
        return LANES * self.ways

    @property
    def blocks(self) -> int:
        return self.outputs // self.block

    @property
    def registers(self) -> int:
        """Of bytes in a row of the result and a block, at the least."""
        return self.widths[0] // self.pixels

    @property
    def size(self) -> int:
        """Outputs of a group."""
        return self.kernel.output.extent

    @property
    def span(self) -> int:
        """Outputs of whole groups and whole blocks."""
        return max(self.size if self.kernel.group else self.outputs, self.block)

    @property
    def dealt(self) -> bool:
        """Whether a block's neighbouring channels lie in different vectors: those of a group."""
        return self.kernel.group is None or self.size >= self.block

    @property
    def together(self) -> int:
        """Groups of a block."""
        return 1 if self.dealt else self.block // self.size

    def blocks_of(self, o: Any) -> tuple[Any, ...]:
        """The block of an output, in its group where there are groups."""
        if self.kernel.group is None:
            return (o // self.block,)
        return o // self.span, o % self.span // self.block

    def place(self, o: Any) -> tuple[Any, ...]:
        """The vector of a block, and the lane, of an output."""
        ways = self.ways
        return (o % ways, o // ways % LANES) if self.dealt else (o // LANES % ways, o % LANES)

    def vector(self, o: Any) -> tuple[Any, ...]:
        """The vector of all, and the lane, of an output."""
        if not self.dealt:
            return o // LANES, o % LANES
        return o // self.block * self.ways + o % self.ways, o // self.ways % LANES

    @property
    def lanes(self) -> tuple[int, int]:
        """The factors by which outputs of a block are lanes."""
        return (LANES, self.ways) if self.dealt else (self.ways, LANES)

    @property
    def vectors(self) -> int:
        """Vectors of outputs that are computed."""
        if self.dealt:
            return self.blocks * self.ways
        assert self.kernel.group is not None
        return self.kernel.group.extent * self.size // LANES

    @property
    def pixels(self) -> int:
        """Pixels that one register of output bytes holds."""
        return VECTOR // self.block

    @property
    def weights(self) -> int:
        """Bytes of the weights."""
        return self.outputs * math.prod(self.taps) * self.words * WORD


def scalar_plan(func: PrimFunc) -> Plan | None:
    """The extents where 32 outputs are multiplied by one scalar word: of groups, vectors must be of
    one group, and registers of the input of whole groups."""
    if plan := plan_for(func):
        return plan
    plan = plan_for(func, grouped=True)
    if plan is None or plan.size % LANES:
        return None
    even = (s.deep == s.inputs and (s.together or s.deep > VECTOR) for s in plan.sources)
    return plan if all(even) else None


def plan_for(func: PrimFunc, grouped: bool = False) -> Plan | None:
    """The extents; None for other kernels, and where outputs or words are no whole vectors."""
    kernel = kernel_of(func, grouped)
    if kernel is None or kernel.depth is None:
        return None
    inputs = kernel.depth.extent
    images, height, columns, stored = kernel.result.shape
    if len(kernel.taps) != 2 or inputs % WORD or stored % LANES:
        return None
    block = min(stored, VECTOR)
    pixels = VECTOR // block
    if VECTOR % block or stored % block or columns % pixels:
        return None
    real = -(-kernel.real(func)[2] // pixels) * pixels
    widths = tuple(sorted({min(real, columns), columns}))
    sources = tuple(source_of(kernel, inputs, width) for width in widths)
    size = max(kernel.output.extent, block)
    if grouped and size % min(kernel.output.extent, block):
        return None  # blocks are no whole groups
    high, wide = (axis.extent for axis in kernel.taps)
    along = kernel.dot.reads[0].step(kernel.taps[1]) // kernel.input.shape[3]
    dense = not grouped and all(source.deep == inputs for source in sources)
    foldable = dense and along == 1 and wide > 1
    return Plan(kernel, images, height, widths, stored, (high, wide), inputs // WORD,
                foldable, sources)  # fmt: skip


def beginning(func: PrimFunc, plan: Plan) -> Beginning:
    """Gives schedules of so many columns of the result, the inputs prepared."""

    @cache
    def prepared(width: int) -> Schedule:
        sch = Schedule(func)
        for name in (plan.kernel.last.block, plan.kernel.dot.block):
            loop = sch.loops(name)[2]
            if width < sch.get_loop(loop).extent:
                sch.resize(loop, width)
        prepare(sch, plan.kernel, plan.source(width))
        return sch

    return lambda width: prepared(width).copy()


def slabs_of(plan: Plan, words: int, group: int = 1) -> Callable[..., tuple[Any, ...]]:
    """The layout of weights that come slab by slab: ``words`` words of a tap, for ``group`` blocks
    of outputs."""
    (high, wide), pieces = plan.taps, plan.words // words

    def slab(kh: Any, kw: Any, c: Any, o: Any) -> tuple[Any, ...]:
        vector, lane = plan.vector(o)
        group_, within = vector // (plan.ways * group), vector % (plan.ways * group)
        at = ((group_ * high + kh) * wide + kw) * pieces + c // (WORD * words)
        return at, c // WORD % words, within, lane, c % WORD

    return slab


def scratch(func: PrimFunc, machine: Machine) -> int:
    """Bytes of TCM for the local images of a lowered kernel, sums of a contraction included."""
    plan = plan_for(func)
    if plan is not None:
        return sum(scratch_of(plan, plan.sources[0]).values())
    local = [s.buffer for s in walk_stmt(func.body) if isinstance(s, Alloc)]
    return sum(b.bytes for b in local if b.scope == "tcm")


def scratch_of(plan: Plan, source: Source) -> dict[str, int]:
    """Bytes of the padded input and of the sums over it."""
    pixels = source.images * source.rows * source.pitch
    wide = -(-source.columns // LANES) * LANES
    rows = source.images * wide * 4
    behind = 0 if source.together else wide
    found = {"csum": rows * source.rows}
    if source.copied:
        found[source.name] = (pixels + wide) * source.deep
    if not source.together:
        found["words"] = (pixels + behind) * min(source.deep, VECTOR)
    if plan.taps[0] > 1:
        found["vsum"] = rows * plan.height
    if plan.taps[1] > 1:
        found["wsum"] = rows * plan.height
    return found


def sum_cycles(plan: Plan, source: Source, machine: Machine, near: bool) -> float:
    """Cycles of the phases before the products: copies and sums."""
    registers, phases = source.registers / machine.threads, 1
    lines = source.images * -(-source.columns // LANES) / machine.threads
    cycles = source.vectors / machine.threads * (8 if source.together else 70)
    cycles += registers * (1.5 if source.together else 2.5)
    if source.copied:
        cycles += registers * 1.5
        phases += 2
    phases += not source.together
    for taps in plan.taps:
        if taps > 1:
            cycles += lines * plan.height * (taps + 4)
            phases += 1
    if not near:
        cycles += direct(machine, 3 * registers, VECTOR, registers)
    return cycles + phases * machine.barrier


@dataclass(frozen=True, slots=True)
class Room:
    """The buffers of a kernel that TCM holds: what windows read, and parts of its weights."""

    near: bool
    places: float  # of parts that take turns; infinite where all fit, none where a part does not


def room_of(func: PrimFunc, plan: Plan, source: Source, machine: Machine, parts: int) -> Room:
    """The buffers that fit, as ``placing/operands`` places them; weights come in ``parts``."""
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    near = {p.name for p in func.params if p.scope == "tcm"}
    far = {p.name: p.bytes for p in func.params if p.scope == "ddr"}
    for sizes in (scratch_of(plan, source), far):
        for name, size in sorted(sizes.items(), key=lambda item: item[1]):
            if size <= free:
                near.add(name)
                free -= size
    whole = plan.kernel.weights.name in near
    some = min(free * parts // plan.weights, PLACES) if parts > 1 else 0
    return Room(source.name in near, math.inf if whole else some)
