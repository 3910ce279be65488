"""Which axes of a block fill vectors: the loops around them, and where vectors read what.

    y[i, j] = x[i, j] + 1      runs (i j) of one loop; so many steps a vector, the last one whole

At either end of a row vectors may read the nearest element inside of an operand: these are edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from math import gcd, prod

from ...target.machine_facts import Machine
from ...tir.expr import Expr, free_vars, substitute, walk
from ...tir.stmt import Block, PrimFunc, Store
from ..errors import ScheduleError
from ..index import simplify
from ..schedule import Schedule
from ..structure import AxisRun, Form, Structure, runs_of, structure
from .fusing import even, run_on
from .packets import Reach

MOST_SPREAD = 4  # vectors at once
WORDS = (8, 4, 2)  # bytes that a scalar register moves


@dataclass(frozen=True, slots=True)
class Nest:
    """A block's loops: ``runs`` outermost first, of which the last ``filled`` are lanes, as many
    of the outermost of these as ``part``."""

    found: Structure
    runs: tuple[AxisRun, ...]
    filled: int
    part: int
    vector: int  # bytes
    edges: tuple[int, int] = (0, 0)  # first and last vectors that read the nearest elements inside
    most: int = 8  # vectors that are unrolled

    @property
    def lanes(self) -> int:
        return prod(run.extent for run in self.runs[len(self.runs) - self.filled + 1 :]) * self.part

    @property
    def outer(self) -> tuple[AxisRun, ...]:
        """The runs that are loops and nothing else."""
        return self.runs[: len(self.runs) - self.filled]

    @property
    def split(self) -> AxisRun | None:
        """The run that is cut into vectors."""
        return self.runs[-self.filled] if self.filled else None

    @property
    def vectors(self) -> int:
        """Steps of the loop over vectors, the overlapping one included."""
        return 1 if self.split is None else -(-self.split.extent // self.part)

    @property
    def whole(self) -> bool:
        """Whether vectors do not overlap."""
        return self.split is None or self.split.extent % self.part == 0

    @property
    def last(self) -> int:
        """Steps of the innermost loop."""
        if self.split is None:
            return self.runs[-1].extent if self.runs else 1
        return self.split.extent // self.part

    def trips(self, slots: float, machine: Machine) -> int:
        """Steps of so many instructions until a loop begins anew: short ones are written out."""
        total, loops = 1, machine.loops
        for extent in (self.last, *(run.extent for run in reversed(self.outer))):
            total *= extent
            if extent > loops.short or total * slots > loops.written:
                break
        return total

    def together(self, unroll: int, share: int | None) -> int:
        """How many steps of the innermost loop are unrolled, at most ``unroll``: they begin and end
        with the axes, and leave none over where a thread's share, or a vector, would be cut."""
        loops = len(self.outer) + (self.split is not None)
        exact = share == loops - 1 or not self.whole
        return max(
            d
            for d in range(1, min(unroll, self.last, self.most) + 1)
            if self._aligned(self.part * d) and (self.last % d == 0 or not exact)
        )

    def _aligned(self, together: int) -> bool:
        run = self.split or (self.runs[-1] if self.runs else None)
        extents = {axis.var: axis.extent for axis in self.found.axes}
        total = 1
        for axis in reversed(run.axes if run and together > self.part else ()):
            total *= extents[axis]
            if total % together and together % total:
                return False
        return True

    @property
    def windows(self) -> bool:
        """Whether steps of the innermost outer loop read elements that their neighbours read."""
        starts: dict[str, set[int]] = {}
        for use in self.found.reads:
            starts.setdefault(use.buffer.name, set()).add(use.start)
        return bool(self.outer) and any(len(found) > 1 for found in starts.values())

    def rows(self, wanted: int) -> int:
        """Steps of the innermost outer loop of vectors at once, at most ``wanted``; 1 where none
        overlap."""
        if not self.windows or self.split is None:
            return 1
        return max(d for d in range(1, wanted + 1) if self.outer[-1].extent % d == 0)

    def reach(self, rows: int) -> Reach:
        """Where so many steps of the innermost outer loop read."""
        still = (0,) * len(self.found.reads)
        down = self.outer[-1].come if rows > 1 else still
        spans = [1] * len(still)
        for run in self.runs[len(self.runs) - self.filled + 1 :] if self.filled else ():
            spans = [
                n + (run.extent - 1) * abs(step) for n, step in zip(spans, run.come, strict=True)
            ]
        across = self.split.come if self.split is not None else still
        return Reach(rows, self.part, down, across, tuple(spans))

    def shares(self, machine: Machine) -> list[int]:
        """The loops that threads may share, the best first: numbers of outer runs, and one more
        for the loop over vectors."""
        ways = {number: run.extent for number, run in enumerate(self.outer)}
        if self.vectors > 1 and (self.whole or not self.outer) and not any(self.edges):
            ways[len(self.outer)] = self.vectors
        found = [number for number, extent in ways.items() if extent > 1]
        return sorted(found, key=lambda at: (-even(ways[at], machine), at))

    def steps(self) -> int:
        """Vectors in all."""
        return prod(run.extent for run in self.outer) * self.vectors

    def extent(self, share: int) -> int:
        return self.vectors if share == len(self.outer) else self.outer[share].extent


def grown_of(
    func: PrimFunc, found: Structure, vector: int, nearest: bool = False
) -> Structure | None:
    """A block that runs on into the pads of its result, so that lanes fill a vector; None where
    it does without, or does not then either."""
    wanted = lanes_of(found, vector)
    lanes, more = 1, dict[Expr, int]()
    if found.out.buffer not in func.params:
        return None
    runs = runs_of(found)[::-1]
    for run, outer in zip_longest(runs, runs[1:]):
        if lanes >= wanted:
            break
        if run.to != lanes:
            return None
        whole = 1 << (run.extent - 1).bit_length()
        short = lanes * whole < wanted and any(run.come)  # repeated bytes would need no vector
        apart = outer is None or outer.to != lanes * whole
        beside = _beside(found, lanes * whole) if short and apart else None
        if short and apart and outer is not None and beside is None:
            whole = wanted // lanes
        if whole != run.extent and lanes * run.extent < wanted:
            if len(run.axes) > 1:
                return None
            more[run.axes[0]] = whole
        lanes *= more.get(run.axes[0], run.extent)
        if beside is not None and lanes < wanted:
            more[beside] = wanted // lanes
            lanes = wanted
    if not more or lanes < wanted:
        return None
    sch = Schedule(func)
    try:
        run_on(sch, found.block, tuple(more.get(axis.var, axis.extent) for axis in found.axes))
    except ScheduleError:
        return None
    grown = structure(sch.get_block(found.block), nearest)
    return grown if grown is not None and grown.held == found.held else None


def _beside(found: Structure, step: int) -> Expr | None:
    """An axis of one step, whose next one would lie ``step`` elements further in the result."""
    single = (a.var for a in found.spatial if a.extent == 1 and found.out.step(a) == step)
    return next(single, None)


def scalar(nest: Nest) -> Nest:
    return Nest(nest.found, nest.runs, 0, 1, nest.vector)


def nest_of(found: Structure, vector: int) -> Nest:
    """The loops of a block, and which of them fill a vector, or the vectors that one of an operand
    gives."""
    runs = tuple(runs_of(found))
    wanted = lanes_of(found, vector)
    for times in _spreads(found, runs, vector):
        filled, lanes = 0, 1
        for run in reversed(runs):
            if lanes >= wanted * times or run.to != lanes:
                break
            filled, lanes = filled + 1, lanes * run.extent
        inner = prod(run.extent for run in runs[len(runs) - filled + 1 :]) if filled else 1
        if filled and lanes >= wanted * times and wanted * times % inner == 0:
            return Nest(found, runs, filled, wanted * times // inner, vector)
    return _by_words(found, runs, vector)


def lanes_of(found: Structure, vector: int) -> int:
    """Lanes that fill a register of each operand and of the result."""
    return vector // min(use.buffer.type.bytes for use in (found.out, *found.reads))


def _spreads(found: Structure, runs: tuple[AxisRun, ...], vector: int) -> Iterator[int]:
    """How many vectors to fill at once, the best first: where elements are chosen among others,
    those that one of an operand gives, and all that conditions tell apart."""
    if any(node.op == "select" and _known(node.args[0]) for node in walk(found.value)) and runs:
        apart = [run.to // step for run in runs for step in run.come if step]
        times = max((n for n in apart if n <= MOST_SPREAD), default=1)
        least = max(runs[-1].extent // vector, 1)
        while times:
            yield times * least
            times //= 2
    yield 1


def _known(condition: Expr) -> bool:
    """Whether no data decide."""
    return all(node.op != "load" for node in walk(condition))


def _by_words(found: Structure, runs: tuple[AxisRun, ...], vector: int) -> Nest:
    """Bytes that lie together as words; other blocks element by element."""
    near = runs and runs[-1].to == 1 and all(step in (0, 1) for step in runs[-1].come)
    if found.form in (Form.MAP, Form.REDUCTION, Form.CONTRACTION) or not near:
        return Nest(found, runs, 0, 1, vector)
    size = found.out.buffer.type.bytes
    apart = [found.out.start, *(use.start for use in found.reads), runs[-1].extent]
    apart += [step for run in runs[:-1] for step in (run.to, *run.come)]
    together = gcd(*apart)
    part = next((word // size for word in WORDS if together % (word // size or 1) == 0
                 and word // size > 1), 1)  # fmt: skip
    return Nest(found, runs, 1, part, vector) if part > 1 else Nest(found, runs, 0, 1, vector)


def clipped(block: Block, axis: Expr, size: int, count: int) -> tuple[int, int]:
    """How many of ``count`` steps of ``size`` values of ``axis`` do so: the first ones, and the
    last ones."""
    store = block.body
    assert isinstance(store, Store)
    loads = [node for node in walk(store.value) if node.op == "load"]
    found = {e for load in loads for e in load.args if axis in free_vars(e) and _bends(e)}
    steps = [step for step in range(count) if any(_open(e, axis, size, step) for e in found)]
    first = next((k for k in range(count) if k not in steps), count)
    last = next((k for k in range(count - first) if count - 1 - k not in steps), 0)
    return first, last


def _open(index: Expr, axis: Expr, size: int, step: int) -> bool:
    moved = substitute(index, {axis: axis + step * size})
    return _bends(simplify(moved, {axis: size}))


def _bends(index: Expr) -> bool:
    return any(node.op in ("min", "max") for node in walk(index))
