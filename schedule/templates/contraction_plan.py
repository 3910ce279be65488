"""Contractions with outputs in lanes: their extents, and which of their buffers TCM can hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ...target.machine_facts import Machine
from ...tir.recent import OfOwner
from ...tir.stmt import PrimFunc
from ..knobs import divisors
from ..placing.transfers import PLACES
from ..schedule import Schedule
from .contraction import WORD, Contraction, OfWords, kernel_of, local
from .contraction_inputs import InputImage, prepare, source_of
from .plans import BlockPlan, total


@dataclass(frozen=True, slots=True)
class ContractionPlan(OfWords):
    """The loop extents of one kernel, and how its output's channels fill vectors."""

    func: PrimFunc
    kernel: Contraction
    images: int
    height: int
    widths: tuple[int, ...]  # columns that may be computed, fewest first
    outputs: int
    taps: tuple[int, int]
    words: int  # of four input channels
    foldable: bool  # whether a row of taps is consecutive in memory
    sources: tuple[InputImage, ...]  # what each of the widths reads
    vector: int  # bytes of a register
    short: bool = False  # whether vectors of outputs that all mean nothing are left out

    def shortened(self) -> ContractionPlan:
        """The plan without vectors of outputs that mean nothing, where there are any: sums lie in
        the order of outputs then, and a tile has all of them."""
        if self.kernel.group is not None:
            return self
        short = replace(self, short=True)
        return short if short.vectors * self.lanes < self.outputs else self

    def width(self, columns: int) -> int:
        """Columns that are computed by tiles of ``columns``, the fewest."""
        return next(width for width in self.widths if width % columns == 0)

    def meant(self, columns: int) -> int:
        """The columns of a tile that mean something, where a tile is a row."""
        real = self.kernel.real(self.func)[2]
        return min(columns, real) if columns == self.width(columns) else columns

    def tiles(self, most: int) -> tuple[int, ...]:
        """The columns that a tile may have, up to ``most``: whole registers of the result."""
        found = {d for width in self.widths for d in divisors(width)}
        return tuple(sorted(d for d in found if d % self.pixels == 0 and d <= most))

    def source(self, width: int) -> InputImage:
        """What so many columns read."""
        return self.sources[self.widths.index(width)]

    @property
    def ways(self) -> int:
        """Vectors of 32 channels that one register of bytes holds."""
        return min(self.outputs, self.vector) // self.lanes

    @property
    def block(self) -> int:
        """Channels that are stored together."""
        return self.lanes * self.ways

    @property
    def near(self) -> int:
        """Channels whose vectors lie together: of a block, or all."""
        return self.outputs if self.short else self.block

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
        return not self.short and (self.kernel.group is None or self.size >= self.block)

    @property
    def together(self) -> int:
        """Groups of a block."""
        return 1 if self.dealt else self.block // self.size

    def blocks_of(self, o: Any) -> tuple[Any, ...]:
        """The block of an output, in its group where there are groups."""
        if self.kernel.group is None:
            return (o // self.near,)
        return o // self.span, o % self.span // self.block

    def place(self, o: Any) -> tuple[Any, ...]:
        """The vector of a block, and the lane, of an output."""
        ways, lanes = self.near // self.lanes, self.lanes
        return (o % ways, o // ways % lanes) if self.dealt else (o // lanes % ways, o % lanes)

    def vector_of(self, o: Any) -> tuple[Any, ...]:
        """The vector of all, and the lane, of an output."""
        if not self.dealt:
            return o // self.lanes, o % self.lanes
        return o // self.block * self.ways + o % self.ways, o // self.ways % self.lanes

    @property
    def factors(self) -> tuple[int, int]:
        """The factors by which outputs of a block are lanes."""
        return (self.lanes, self.ways) if self.dealt else (self.ways, self.lanes)

    @property
    def vectors(self) -> int:
        """Vectors of outputs that are computed."""
        if self.short:
            return -(-self.kernel.real(self.func)[3] // self.lanes)
        if self.dealt:
            return self.blocks * self.ways
        assert self.kernel.group is not None
        return self.kernel.group.extent * self.size // self.lanes

    @property
    def pixels(self) -> int:
        """Pixels that one register of output bytes holds."""
        return self.vector // self.block

    @property
    def computed(self) -> int:
        """Outputs that are computed."""
        return self.vectors * self.lanes if self.short else self.outputs

    @property
    def others(self) -> int:
        """Bytes of the constants beside the weights, of outputs that are computed."""
        own = {p.name: p.bytes for p in self.func.params}
        known = sum(own[name] for name in self.kernel.by_output(self.func))
        left_out = known * (self.outputs - self.computed) // self.outputs
        return self.kernel.others(self.func) - left_out

    @property
    def weights(self) -> int:
        """Bytes of the weights of outputs that are computed."""
        return self.computed * math.prod(self.taps) * self.words * WORD


def scalar_plan(func: PrimFunc, vector: int) -> ContractionPlan | None:
    """The extents where 32 outputs are multiplied by one scalar word: of groups, vectors must be of
    one group, and registers of the input of whole groups."""
    plan = plan_for(func, vector)
    if plan is None or plan.kernel.group is None:
        return plan
    if plan.size % plan.lanes:
        return None
    even = (s.deep == s.inputs and (s.together or s.deep > vector) for s in plan.sources)
    return plan if all(even) else None


def plan_for(func: PrimFunc, vector: int) -> ContractionPlan | None:
    """The extents for registers of ``vector`` bytes; None for other kernels, and where outputs or
    words are no whole vectors."""
    kernel = kernel_of(func, vector)
    if kernel is None or kernel.depth is None:
        return None
    inputs = kernel.depth.extent
    images, height, columns, stored = kernel.result.shape
    if len(kernel.taps) != 2 or inputs % WORD or stored % kernel.lanes:
        return None
    block = min(stored, vector)
    pixels = vector // block
    if vector % block or stored % block or columns % pixels:
        return None
    real = -(-kernel.real(func)[2] // pixels) * pixels
    widths = tuple(sorted({min(real, columns), columns}))
    sources = tuple(source_of(kernel, inputs, width) for width in widths)
    size = max(kernel.output.extent, block)
    if kernel.group and size % min(kernel.output.extent, block):
        return None  # blocks are no whole groups
    high, wide = (axis.extent for axis in kernel.taps)
    along = kernel.dot.reads[0].step(kernel.taps[1]) // kernel.input.shape[3]
    dense = kernel.group is None and all(source.deep == inputs for source in sources)
    foldable = dense and along == 1 and wide > 1
    return ContractionPlan(func, kernel, images, height, widths, stored, (high, wide),
                           inputs // WORD, foldable, sources, vector)  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A schedule whose inputs are prepared, by phases."""

    sch: Schedule
    phases: Sequence[BlockPlan]
    _ready: dict[Machine, float] = field(default_factory=dict)

    @cached_property
    def scratch(self) -> dict[str, int]:
        """Bytes of each local image."""
        return {b.name: b.bytes for b in local(self.sch.func)}

    def ready(self, machine: Machine) -> float:
        """Cycles of these phases."""
        if machine not in self._ready:
            plans = [plan for part in self.phases for plan in part.plans(machine, {})]
            self._ready[machine] = total(plans, machine).cycles
        return self._ready[machine]


def prepared(plan: ContractionPlan, width: int) -> Prepared:
    """What schedules of ``width`` columns have in common, on any number of threads."""
    return _recent(plan.func, (width, plan.vector), lambda: _prepared(plan, width))


_recent = OfOwner[Prepared](64)


def _prepared(plan: ContractionPlan, width: int) -> Prepared:
    sch = Schedule(plan.func)
    for name in (plan.kernel.last.block, plan.kernel.dot.block):
        loop = sch.loops(name)[2]
        if width < sch.get_loop(loop).extent:
            sch.resize(loop, width)
    return Prepared(sch, prepare(sch, plan.kernel, plan.source(width)))


def shorten(sch: Schedule, plan: ContractionPlan) -> None:
    """Leaves out the vectors of outputs that mean nothing."""
    for name in (plan.kernel.last.block, plan.kernel.dot.block):
        loop = sch.resize(sch.loops(name)[3], plan.vectors * plan.lanes)
        sch.divide(loop, plan.lanes)


def lengthen(sch: Schedule, plan: ContractionPlan, *buffers: str) -> None:
    """Lets results that ``shorten`` left out be made of the last vector again, which takes nothing,
    so that registers of results are whole; these buffers hold no more than is computed."""
    for name in buffers:
        sch.trim(name)
    vector = sch.loops(plan.kernel.last.block)[3]
    sch.resize(vector, plan.outputs // plan.lanes, "last")


def slabs_of(plan: ContractionPlan, words: int, group: int = 1) -> Callable[..., tuple[Any, ...]]:
    """The layout of weights that come slab by slab: ``words`` words of a tap, for ``group`` blocks
    of outputs."""
    (high, wide), pieces = plan.taps, plan.words // words

    def slab(kh: Any, kw: Any, c: Any, o: Any) -> tuple[Any, ...]:
        vector, lane = plan.vector_of(o)
        group_, within = vector // (plan.ways * group), vector % (plan.ways * group)
        at = ((group_ * high + kh) * wide + kw) * pieces + c // (WORD * words)
        return at, c // WORD % words, within, lane, c % WORD

    return slab


@dataclass(frozen=True, slots=True)
class TcmRoom:
    """The buffers of a kernel that TCM holds: what windows read, and parts of its weights."""

    near: bool
    places: float  # of parts that take turns; infinite where all fit, none where a part does not


def room_of(plan: ContractionPlan, width: int, machine: Machine, parts: int) -> TcmRoom:
    """The buffers that fit, as ``placing/operands`` places them; weights come in ``parts``."""
    func, inputs, source = plan.func, prepared(plan, width), plan.source(width)
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    near = {p.name for p in func.params if p.scope == "tcm"}
    far = {p.name: p.bytes for p in func.params if p.scope == "ddr"}
    for sizes in (inputs.scratch, far):
        for name, size in sorted(sizes.items(), key=lambda item: item[1]):
            if size <= free:
                near.add(name)
                free -= size
    whole = plan.kernel.weights.name in near
    some = min(free * parts // plan.weights, PLACES) if parts > 1 else 0
    return TcmRoom(source.name in near, math.inf if whole else some)
