"""Sums of products of bytes by words of four: which operand is vectors, and which scalars.

acc[m, n] += a[m, k] * w[k, n]        words of four k: those of 32 columns n are a vector of w,
                                      that of a row m is a scalar of a
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...tir.expr import Expr, is_fixed, var, walk
from ...tir.linear import linear
from ..structure import Axis, Form, Structure, Use
from ..trace import index_map
from .contraction import WORD, OfWords

IndexMap = Callable[..., tuple[Expr, ...]]


@dataclass(frozen=True, slots=True)
class Words(OfWords):
    """A contraction of bytes: ``column`` moves the vectors alone and lies together in the result,
    ``depth`` lies together in the scalars; both are dimensions of the vectors."""

    found: Structure
    vectors: Use
    scalars: Use
    column: Axis
    depth: Axis
    vector: int  # bytes
    ways: int = 1  # vectors between which neighbouring results change
    near: Axis | None = None  # which moves both operands, and results between these vectors

    @property
    def row(self) -> Axis | None:
        """The longest axis that moves the scalars alone."""
        rows = [a for a in self.found.spatial if self.scalars.step(a) and not self.vectors.step(a)]
        return max(rows, key=lambda a: a.extent, default=None)

    @property
    def deep(self) -> int:
        """The elements that are summed along ``depth``: whole words."""
        return -(-self.depth.extent // WORD) * WORD

    @property
    def wide(self) -> int:
        """Columns that are computed: whole vectors."""
        return -(-self.column.extent // self.lanes) * self.lanes

    @property
    def folds(self) -> list[Axis]:
        """The other axes that are summed, those along which scalars lie nearest last."""
        others = [axis for axis in self.found.summed if axis is not self.depth]
        return sorted(others, key=lambda axis: -self.scalars.step(axis))

    @property
    def dealt(self) -> bool:
        """Whether words lie as they are read."""
        near = self.vectors.step(self.depth) == 1 and self.vectors.step(self.column) == WORD
        own = self.column, self.depth
        steps = [self.vectors.step(axis) for axis in self.found.axes if axis not in own]
        whole = self.depth.extent == WORD and self.column.extent % self.lanes == 0
        return (
            near and whole and all(step % self.vector == 0 for step in (*steps, self.vectors.start))
        )

    @property
    def aligned(self) -> bool:
        """Whether words of scalars are aligned, and lie in their buffer."""
        steps = [self.scalars.step(axis) for axis in self.found.axes if axis is not self.depth]
        whole = self.scalars.buffer.shape[-1] >= self.deep
        return whole and all(step % WORD == 0 for step in (*steps, self.scalars.start))

    @property
    def grouped(self) -> bool:
        """Whether more lies between columns than vectors that narrow together."""
        return self.near is not None and self.near.extent > self.ways

    @property
    def step(self) -> int:
        """The elements of ``depth`` that lie together in a register of scalars."""
        stored = self.scalars.buffer.shape[-1]
        return min(stored, self.vector) if self.near is None else self.vector // stored

    @property
    def dims(self) -> tuple[int, int]:
        """The dimensions of columns and of depth."""
        index = list(self.vectors.index)
        return index.index(self.column.var), index.index(self.depth.var)

    def layout(self, lanes: int) -> IndexMap:
        """Words of so many columns side by side."""
        return self.by_columns(self.vectors.index, lanes)

    def by_columns(self, index: Sequence[Expr], lanes: int) -> IndexMap:
        """What is accessed at ``index`` with so many columns last, or words of them."""
        axes = [var(f"i{d}") for d in range(len(index))]
        at = [*zip(index, axes, strict=True)]
        column, depth, near = (
            [a for e, a in at if axis is not None and e is axis.var]
            for axis in (self.column, self.depth, self.near)
        )
        own, (n,) = [*column, *depth, *near], column
        rest = [part for e, a in at if a not in own for part in self._apart(e, a)]
        words, within = [k // WORD for k in depth], [k % WORD for k in depth]
        if self.near is None:
            way = [n % self.ways] if self.ways > 1 else []
            block, lane = n // (lanes * self.ways), n // self.ways % lanes
            return index_map(axes, (*rest, block, *words, *way, lane, *within))
        groups, ways = [c // self.ways for c in near], [c % self.ways for c in near]
        return index_map(axes, (*rest, *groups, n // lanes, *words, *ways, n % lanes, *within))

    def by_steps(self) -> IndexMap:
        """Scalars as registers of words of each step of ``near``, which lies last."""
        axes = [var(f"i{d}") for d in range(len(self.scalars.index))]
        k, c = axes[list(self.scalars.index).index(self.depth.var)], axes[-1]
        rest = [axis for axis in axes if axis not in (k, c)]
        return index_map(axes, (*rest, k // self.step, c, k % self.step))

    def by_ways(self) -> IndexMap:
        """Elements [..., column, near] as registers of columns of some steps of ``near``."""
        axes = [var(f"i{d}") for d in range(len(self.found.out.index))]
        *rest, n, c = axes
        return index_map(
            axes, (*rest, n // self.lanes, c // self.ways, n % self.lanes, c % self.ways)
        )

    def _apart(self, index: Expr, axis: Expr) -> list[Expr]:
        """A dimension that several axes move as one for each."""
        extents = {part.var: part.extent for part in self.found.spatial}
        terms = sorted(linear(index).terms.items(), key=lambda term: -term[1])
        if len(terms) < 2 or not {moved for moved, _ in terms} <= {*extents}:
            return [axis]
        parts = [axis // step % extents[moved] for moved, step in terms[1:]]
        return [axis // terms[0][1], *parts]


def words_of(found: Structure, vector: int) -> Words | None:
    """How a contraction is one of words; None where it is none of bytes, or no columns, or words of
    scalars, lie together."""
    if not of_bytes(found):
        return None
    first, second = found.reads
    for vectors, scalars in ((second, first), (first, second)):
        column = next((a for a in found.spatial if found.out.step(a) == 1 < a.extent), None)
        depth = next((a for a in found.summed if scalars.step(a) == 1 < a.extent), None)
        if column is None or depth is None or scalars.step(column) or not vectors.step(column):
            continue
        words = Words(found, vectors, scalars, column, depth, vector)
        together = 1 in (vectors.step(column), vectors.step(depth))
        if together and {column.var, depth.var} <= set(vectors.index) and _copied(words):
            return words
    return None


def shifted(found: Structure, use: Use) -> bool:
    """Whether a number is added to the elements of an operand."""
    sums = [e.args for e in walk(found.value) if e.op == "add"]
    less = [read for read, by in sums if is_fixed(by)]
    return any(e.attr == use.buffer for read in less for e in walk(read) if e.op == "load")


def of_bytes(found: Structure) -> bool:
    """Whether a block sums products of bytes."""
    return found.form is Form.CONTRACTION and all(u.buffer.type.bits == 8 for u in found.reads)


def _copied(words: Words) -> bool:
    """Whether scalars are aligned, or are so in a copy."""
    if words.aligned:
        return True
    others = [axis for axis in words.found.axes if axis is not words.depth]
    last = words.scalars.index[-1]
    return last is words.depth.var and all(words.scalars.step(a) != 1 for a in others)
