"""What a product of two activations is, read from the accesses of its blocks.

    acc[n, r, c] += (x[n, r, k] - zero) * (w[n, k, c] - zero)      rows of ``left``, columns of
    y[n, r, c] = f(acc[n, r, c])                                   ``right``

Columns of the result lie in lanes. They are its innermost axis, or the one before, where an axis
of the batch (``near``: heads of an attention) is innermost; axes but these are loops outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...tir.stmt import PrimFunc
from ...tir.types import u8
from ..extents import meant
from ..structure import Axis, Form, Structure, Use, structure
from ..tree import blocks_below
from .contraction import LANES, VECTOR, WORD

TOGETHER = 8  # heads that lie innermost in a register of the result, at most


@dataclass(frozen=True, slots=True)
class Product:
    """A product of two activations, and how it fills registers of the result."""

    dot: Structure
    last: Structure
    left: Use
    right: Use
    row: Axis
    column: Axis
    near: Axis | None
    depth: Axis
    rows: int  # that mean something
    heads: int  # stored ones, innermost; 1: columns are
    real: int  # heads that mean something

    @property
    def outer(self) -> list[Axis]:
        """The axes that are loops outside."""
        return [axis for axis in self.dot.spatial
                if axis not in (self.row, self.column, self.near)]  # fmt: skip

    @property
    def images(self) -> int:
        return math.prod(axis.extent for axis in self.outer)

    @property
    def ways(self) -> int:
        """Vectors of sums for a register of the result, or for columns of some heads."""
        if self.near is not None:
            return self.heads if self.heads <= TOGETHER else WORD
        return min(self.column.extent, VECTOR) // LANES

    @property
    def pixels(self) -> int:
        """Rows that one register of the result holds."""
        return max(WORD // self.ways, 1)

    @property
    def direct(self) -> bool:
        """Whether tiles are whole registers of the result."""
        return self.near is None or (self.heads <= TOGETHER and self.column.extent % LANES == 0)

    @property
    def block(self) -> int:
        """Columns of a block: one or more vectors of each head."""
        return LANES * (1 if self.near is not None else self.ways)

    @property
    def blocks(self) -> int:
        return -(-self.column.extent // self.block)

    @property
    def groups(self) -> int:
        """Blocks of heads."""
        return 1 if self.near is None else -(-self.real // self.ways)

    @property
    def made(self) -> int:
        """The vectors of columns of a block that are computed: those of heads that mean nothing
        are the last one again, where all heads are one group."""
        single = self.near is not None and self.direct and self.groups == 1
        return min(self.real, self.ways) if single else self.ways

    @property
    def quads(self) -> int:
        """Groups of rows that fill registers."""
        return -(-self.rows // self.pixels)

    @property
    def words(self) -> int:
        """Words of four k."""
        return -(-self.depth.extent // WORD)

    @property
    def step(self) -> int:
        """The k of a row, or of its heads, that lie together in a register."""
        stored = self.left.buffer.shape[-1]
        return min(stored, VECTOR) if self.near is None else VECTOR // stored

    @property
    def alike(self) -> int:
        """The words of k between which rows lie alike in memory."""
        return 1 if self.near is None else self.step // WORD

    @property
    def copied(self) -> bool:
        """Whether rows are read from a copy: k does not lie together, or sums want more rows."""
        if self.near is not None:
            return True
        return self.left.buffer.shape[dims(self.left, self.row)] % LANES > 0


def product_of(func: PrimFunc) -> Product | None:
    """The product that a kernel is; None for other kernels."""
    found = [structure(block) for block in blocks_below(func.body)]
    known = [part for part in found if part is not None]
    if not len(found) == len(known) == 2:
        return None
    dot, last = known
    if dot.form is not Form.CONTRACTION or last.form is not Form.MAP or len(dot.summed) != 1:
        return None
    sums = [use for use in last.reads if use.buffer == dot.out.buffer]
    params = {p for p in func.params if p.type == u8 and p.name not in func.constants}
    if not params >= {use.buffer for use in (*dot.reads, last.out)}:
        return None
    axes = [[(a.extent, use.step(a)) for a in part] for use, part in
            ((dot.out, dot.spatial), (last.out, last.axes))]  # fmt: skip
    if len(sums) != 1 or sums[0].index != last.out.index or axes[0] != axes[1]:
        return None
    product = _roles(func, dot, last)
    return product if product is not None and _plain(product) else None


def _roles(func: PrimFunc, dot: Structure, last: Structure) -> Product | None:
    """The axes by the operands that they move, those with the nearest elements first."""
    (depth,), axes = dot.summed, sorted(dot.spatial, key=dot.out.step)
    if not axes:
        return None
    moved = {axis.var: [use for use in dot.reads if use.step(axis)] for axis in axes}
    wide = len(moved[axes[0].var]) == 1 and axes[0].extent % LANES == 0
    near = None if wide else axes[0]
    single = [axis for axis in axes if len(moved[axis.var]) == 1 and axis is not near]
    if not single:
        return None
    column = single[0]
    (right,) = moved[column.var]
    (left,) = (use for use in dot.reads if use is not right)
    row = next((axis for axis in single if moved[axis.var] == [left]), None)
    sizes = meant(func, last.out.buffer)
    if row is None or row.var not in dot.out.index:
        return None
    rows, heads = sizes[dot.out.index.index(row.var)], last.out.buffer.shape[-1]
    return Product(dot, last, left, right, row, column, near, depth, rows,
                   1 if near is None else heads, 1 if near is None else sizes[-1])  # fmt: skip


def _plain(product: Product) -> bool:
    """Whether each axis that fills registers is a dimension of all buffers that it moves, whole
    registers lie together in the result, and words of rows may be read."""
    near, column, depth = product.near, product.column, product.depth
    inner = [axis for axis in (near, column, depth, product.row) if axis is not None]
    for use in (product.dot.out, product.left, product.right):
        if any(use.step(axis) and axis.var not in use.index for axis in inner):
            return False
    shape, steps = product.last.out.buffer.shape, product.dot.out
    if near is None:
        lanes = column.extent == shape[-1] and shape[-1] % LANES == 0 and steps.step(column) == 1
        return lanes and VECTOR % product.block == 0 and product.left.step(depth) == 1
    whole = near.extent == shape[-1] and column.extent == shape[-2] and VECTOR % shape[-1] == 0
    return whole and steps.step(column) == near.extent and product.heads <= LANES


def dims(use: Use, axis: Axis) -> int:
    """The dimension of a buffer that an axis moves."""
    return list(use.index).index(axis.var)
