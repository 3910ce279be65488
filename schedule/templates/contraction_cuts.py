"""How the weights of a contraction with sums in TCM come: in which parts, in which order, and what
of its products then is a nest of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..knobs import Point, divisors, number
from ..placing.transfers import PLACES
from .contraction_border import LEFT_OUT, Inside
from .contraction_plan import ContractionPlan

TURNS = 200  # phases, at most: each is code
_PIECES = 16  # parts of a tap's channels, at most, where all weights fit


@dataclass(frozen=True, slots=True)
class Cuts:
    """How fine the weights may be cut: how many loops over them are phases, of groups of blocks,
    kernel rows, columns, and then, in one number, of so many pieces of the channels."""

    plan: ContractionPlan
    room: int  # bytes for sums and weights
    others: int  # bytes of other constants
    inside: tuple[Inside | None, ...]  # of rows and columns

    @property
    def turning(self) -> bool:
        """Whether weights take turns where all sums are kept."""
        return self.plan.weights > self.room - self.sums

    @property
    def sums(self) -> int:
        """Bytes of all sums."""
        return registers(self.plan) * self.plan.vector

    def times(self, point: Point) -> int:
        """Groups of blocks whose sums are kept one after another."""
        return self.groups(point) if point.get("sums") == "group" else 1

    def groups(self, point: Point) -> int:
        """Of blocks whose weights come together."""
        return self.plan.blocks // number(point, "group")

    def places(self, point: Point) -> float:
        """Of slabs of weights that take turns; infinite where all weights fit."""
        free = self.room - self.sums // self.times(point)
        slabs = sum(n * slabs for n, _, slabs in self.phases(point))
        fits = free >= self.plan.weights
        return math.inf if fits else min(free * slabs // self.plan.weights, PLACES)

    @property
    def values(self) -> tuple[int, ...]:
        """What the knob ``cuts`` may be."""
        pieces = divisors(self.plan.words, TURNS if self.turning else _PIECES)[1:]
        taps = [level for level, extent in enumerate(self.plan.taps, 1) if extent > 1]
        return 0, *taps, *(2 + count for count in pieces)

    def parted(self, point: Point) -> dict[str, Inside]:
        """The axes whose products by zeros are left out, by the name of their tiles: not one whose
        tiles threads share."""
        known = zip(("rows", "columns"), self.inside, strict=True)
        wanted = point.get("zeros") == LEFT_OUT and not begins(self.plan, point)
        return {n: found for n, found in known if found and wanted and n != point["share"]}

    def tiles(self, point: Point) -> dict[str, tuple[int, int]]:
        """How many tiles an axis has, and of how many outputs."""
        sizes = {name: number(point, name) for name in ("rows", "columns")}
        extents = {"rows": self.plan.height, "columns": self.plan.widths[0]}
        return {name: (extents[name] // size, size) for name, size in sizes.items()}

    def parts(self, point: Point) -> int:
        """Nests of products that may differ, those of a group and a piece of channels."""
        tiles, axes = self.tiles(point), self.parted(point)
        found = 0
        for _, depth, _ in self.phases(point):
            apart = {"rows": depth > 1, "columns": depth > 2}
            found += math.prod(axis.parts(*tiles[n], apart[n]) for n, axis in axes.items())
        return found

    def words(self, point: Point) -> int:
        """Words of four channels in a slab of weights."""
        return self.plan.words // max(number(point, "cuts") - 2, 1)

    def phases(self, point: Point) -> list[tuple[int, int, int]]:
        """Of how many groups of blocks how many loops are phases, of how many slabs each: of all
        alike, or of others fewer, whose weights come while the first group is computed."""
        cuts, groups = number(point, "cuts"), self.groups(point)
        fine, rest = 1 + min(cuts, 3), max(min(cuts, 2), 1)
        parts = [(groups, fine)] if self.turning else [(1, fine), (groups - 1, rest)]
        extents = *self.plan.taps, max(cuts - 2, 1)
        return [(n, depth, math.prod(extents[: depth - 1])) for n, depth in parts if n]


def registers(plan: ContractionPlan) -> int:
    """Registers of sums."""
    return plan.images * plan.height * plan.widths[0] * plan.vectors


def begins(plan: ContractionPlan, point: Point) -> bool:
    """Whether a tile begins with its initial sums: weights of groups are too few to wait for."""
    return plan.kernel.group is not None and point["cuts"] == 0
