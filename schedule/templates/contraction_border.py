"""Products by zeros around images, which a contraction need not make.

    tiles of rows      |  first  |   others   |  last   |     of a kernel of three rows
    kernel rows        |   1, 2  |  0, 1, 2   |  0, 1   |     one row a tile
    rows in a tile     | 1.. of 0|    all     | ..6 of 2|     several rows a tile

Loops over tiles and over the taps of an axis are parted where tiles have other products than their
neighbours, and end where there are none (``Schedule.leave_out``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ...tir.linear import linear
from ...tir.quick import quick
from ..schedule import Schedule
from .contraction import Contraction
from .fusing import zoned

LEFT_OUT = "left out"  # the value of the knob that says what becomes of products by zeros
Span = tuple[int, int]  # the first, and the one behind the last


@quick
@dataclass(frozen=True, slots=True)
class Inside:
    """Of the taps of an axis, the outputs whose windows read more there than zeros."""

    taps: tuple[Span, ...]

    def span(self, tile: int, size: int, tap: int) -> Span:
        """The outputs of a tile of ``size`` that have a product at a tap."""
        first, end = (min(max(at - tile * size, 0), size) for at in self.taps[tap])
        return (first, end) if first < end else (0, 0)

    def kept(self, tiles: int, size: int) -> float:
        """The share of the products of all tiles that are made."""
        spans = [
            self.span(tile, size, tap) for tile in range(tiles) for tap in range(len(self.taps))
        ]
        return sum(end - first for first, end in spans) / (size * len(spans))

    def parts(self, tiles: int, size: int, apart: bool) -> int:
        """Into how many parts of tiles and taps products fall; ``apart``: taps come one by one."""
        at = [
            [self.span(tile, size, tap) for tap in range(len(self.taps))] for tile in range(tiles)
        ]
        outer: list[list[Span]] = [*map(list, zip(*at, strict=True))] if apart else at
        runs = outer if apart else [spans for spans, _ in groupby(outer)]
        return sum(max(sum(1 for span, _ in groupby(spans) if span != (0, 0)), 1) for spans in runs)


def inside_of(kernel: Contraction, at: int) -> Inside | None:
    """Of the rows (0) or columns (1) of a contraction; None where all products are by data, or
    where it is not zeros that lie around the images."""
    if kernel.copy is None or kernel.fill is None or len(kernel.taps) != 2:
        return None
    value, axis, tap = kernel.fill.value, (kernel.row, kernel.pixel)[at], kernel.taps[at]
    if not (value.is_const and value.attr == 0):
        return None
    read, first = linear(kernel.dot.reads[0].index[1 + at]), linear(kernel.copy.out.index[1 + at])
    step, apart = (read.terms.get(each.var, 1) for each in (axis, tap))
    end = first.constant + kernel.copy.axes[1 + at].extent
    spans: list[Span] = []
    for number in range(tap.extent):
        reach = read.constant + number * apart
        ends = (-((reach - edge) // step) for edge in (first.constant, end))
        low, high = (min(max(edge, 0), axis.extent) for edge in ends)
        spans.append((low, max(low, high)))
    whole = all(span == (0, axis.extent) for span in spans)
    return None if whole else Inside(tuple(spans))


@dataclass(frozen=True, slots=True)
class BorderAxis:
    """An axis whose products by zeros are left out: the places of its loops among those of a block,
    which are of tiles, of taps, and within a tile of ``size`` outputs."""

    inside: Inside
    size: int
    tiles: int
    taps: int
    within: int

    def spans(self, tiles: Sequence[int], taps: Sequence[int]) -> list[Span]:
        return [self.inside.span(tile, self.size, tap) for tile in tiles for tap in taps]


def without_zeros(sch: Schedule, block: str, axes: Sequence[BorderAxis], shared: int) -> None:
    """Leaves out the products of a block, whose sums have begun, by zeros around images; each part
    gets a nest, and so a phase, of its own. Threads share the loop at the place ``shared``."""
    extents = [sch.get_loop(loop).extent for loop in sch.loops(block)]
    levels = sorted({place: axis for axis in axes for place in (axis.tiles, axis.taps)}.items())
    _parted(sch, block, levels, {}, extents, shared)


def _parted(
    sch: Schedule, block: str, levels: Sequence[tuple[int, BorderAxis]],
    known: dict[int, int], extents: Sequence[int], shared: int,
) -> None:  # fmt: skip
    """Parts the first loop of ``levels`` and then the others; ``known`` has the step of each that
    stands for all of its part."""
    if not levels:
        return
    (place, axis), *rest = levels
    other = axis.taps if place == axis.tiles else axis.tiles
    others = [known[other]] if other in known else range(extents[other])

    def spans(step: int) -> list[Span]:
        return axis.spans(*(([step], others) if place == axis.tiles else (others, [step])))

    steps = [(step, spans(step)) for step in range(extents[place])]
    adding = [step for step, found in steps if found != [(0, 0)]]
    if other in known and 0 < len(adding) < len(steps):
        sch.leave_out(sch.loops(block)[place])
        steps = steps[adding[0] : adding[-1] + 1]
    runs = [list(run) for _, run in groupby(steps, key=lambda item: item[1])]
    for name, run in zip(_nests(sch, block, place, shared, runs), runs, strict=True):
        step, found = run[0]
        if other in known and found not in ([(0, axis.size)], [(0, 0)]):
            sch.leave_out(sch.loops(name)[axis.within])
        _parted(sch, name, rest, {**known, place: step}, extents, shared)


def _nests(
    sch: Schedule, block: str, place: int, shared: int, runs: Sequence[Sequence[object]]
) -> list[str]:
    """A nest for each of the runs of a loop's steps."""
    loops = sch.loops(block)
    inside = len(runs) > 1 and place > shared
    if inside:
        sch.reorder(loops[place], *loops[shared:place])
    names = zoned(sch, block, loops[place], [len(run) for run in runs])
    for name in names if inside else ():
        loops = sch.loops(name)
        sch.reorder(*loops[shared + 1 : place + 1], loops[shared])
    return names
