"""What a block is, read from its accesses alone: its form, and how each axis moves in memory.

    acc[n, h, w, o] += cast(i32, x[n, h + kh, w + kw, c]) * cast(i32, f[kh, kw, c, o])

is a contraction: h and w are *rows* (they move the first operand and the result), o is a *column*
(the second operand and the result), kh, kw and c are *summed* (both operands), and n, which moves
the first operand alone here, is a row as well. An axis that moves all three is of the *batch*.

No name of a block, a buffer or an axis means anything here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from ..tir.expr import Expr, free_vars, is_fixed, transform, walk
from ..tir.linear import joined, row_major
from ..tir.ops import FOLDS
from ..tir.stmt import Block, Buffer, Store
from .block_forms import is_map, reduction_of


class Form(Enum):
    """What a block does."""

    FILL = "fill"  # stores one number
    COPY = "copy"  # moves elements
    MAP = "map"  # computes each element from others
    REDUCTION = "reduction"  # folds elements by +, min or max
    CONTRACTION = "contraction"  # sums products of two operands
    OTHER = "other"


class Role(Enum):
    """Which of a contraction's buffers an axis moves."""

    BATCH = "batch"  # both operands and the result
    ROW = "row"  # the first operand and the result
    COLUMN = "column"  # the second operand and the result
    SUMMED = "summed"  # both operands, or one of them; not the result


@dataclass(frozen=True, slots=True)
class Axis:
    """An iter of a block by its variable."""

    var: Expr
    extent: int
    reduce: bool


@dataclass(frozen=True, slots=True)
class Use:
    """An affine access: elements of memory between steps of each axis, and the first element."""

    buffer: Buffer
    index: tuple[Expr, ...]
    steps: Mapping[Expr, int]
    start: int

    def step(self, axis: Axis) -> int:
        return self.steps.get(axis.var, 0)


@dataclass(frozen=True, slots=True)
class Structure:
    """A block of one store; ``reads`` are its affine loads in order of appearance, its own result
    left out, ``tables`` the buffers that data index."""

    block: str
    form: Form
    axes: tuple[Axis, ...]
    out: Use
    reads: tuple[Use, ...]
    tables: tuple[Buffer, ...]
    value: Expr  # what is stored, or what a reduction takes in
    init: Expr | None  # what a reduction begins with
    held: frozenset[Expr] = frozenset()  # axes along which the nearest element inside is read

    @property
    def spatial(self) -> list[Axis]:
        return [axis for axis in self.axes if not axis.reduce]

    @property
    def summed(self) -> list[Axis]:
        return [axis for axis in self.axes if axis.reduce]

    def role(self, axis: Axis) -> Role:
        """The role of a contraction's axis."""
        first, second = self.reads
        if axis.reduce:
            return Role.SUMMED
        if first.step(axis) and second.step(axis):
            return Role.BATCH
        return Role.COLUMN if second.step(axis) else Role.ROW


@lru_cache(maxsize=1024)
def structure(block: Block, nearest: bool = False) -> Structure | None:
    """What ``block`` is; None where it is no single store, or an index of it is not affine.
    ``nearest``: where it reads the nearest element inside of an operand, as if it read on."""
    store, held = block.body, frozenset[Expr]()
    if nearest and isinstance(store, Store):
        held = held_back(store.value)
        store = Store(store.buffer, store.index, transform(store.value, _read_on))
        block = replace(block, body=store)
    if not isinstance(store, Store):
        return None
    axes = tuple(Axis(it.axis, it.extent, it.reduce) for it in block.iters)
    known = {axis.var for axis in axes}
    out = _use(store.buffer, store.index, known)
    folded = reduction_of(block)
    value = store.value if folded is None else folded.value
    found = _reads(value, known)
    if out is None or found is None:
        return None
    reads, tables = found
    moves = value.op == "load" and not tables
    form = _form(block, value, moves) if folded is None else _folding(folded.op, value, reads)
    init = None if folded is None else folded.init
    return Structure(block.name, form, axes, out, reads, tables, value, init, held)


def held_back(value: Expr) -> frozenset[Expr]:
    """The variables of indices that a least or largest value holds back."""
    loads = [node for node in walk(value) if node.op == "load"]
    ends = [e for load in loads for index in load.args for e in walk(index)]
    return frozenset(axis for e in ends if e.op in ("min", "max") for axis in free_vars(e))


def _read_on(node: Expr) -> Expr | None:
    """A load at indices that no least or largest value holds back."""
    if node.op != "load":
        return None
    index = list(node.args)
    for dim, expr in enumerate(index):
        while expr.op in ("min", "max") and expr.args[1].is_const:
            expr = index[dim] = expr.args[0]
    return Expr("load", node.type, tuple(index), node.attr)


@dataclass(frozen=True, slots=True)
class AxisRun:
    """Neighbouring axes that move every buffer as one would, outermost first: ``extent`` steps of
    ``to`` elements in the result, of ``come`` elements in each operand."""

    axes: tuple[Expr, ...]
    extent: int
    to: int
    come: tuple[int, ...]


def runs_of(found: Structure) -> list[AxisRun]:
    """The spatial axes of more than one step, joined where they can be, in the order in which the
    result lies in memory."""
    runs: list[AxisRun] = []
    for axis in found.spatial:
        if axis.extent > 1:
            come = tuple(use.step(axis) for use in found.reads)
            runs.append(AxisRun((axis.var,), axis.extent, found.out.step(axis), come))
    runs.sort(key=lambda run: tuple(-abs(step) for step in (run.to, *run.come)))
    joined: list[AxisRun] = []
    for run in runs:
        alone = found.held & {*run.axes, *(joined[-1].axes if joined else ())}
        if joined and not alone and _follows(joined[-1], run):
            outer = joined.pop()
            run = AxisRun((*outer.axes, *run.axes), outer.extent * run.extent, run.to, run.come)
        joined.append(run)
    return joined


def _follows(outer: AxisRun, inner: AxisRun) -> bool:
    """Whether a step of ``outer`` is as far as all steps of ``inner``, in every buffer."""
    steps = zip((outer.to, *outer.come), (inner.to, *inner.come), strict=True)
    return all(a == b * inner.extent for a, b in steps)


def _use(buffer: Buffer, index: tuple[Expr, ...], known: set[Expr]) -> Use | None:
    form = joined(row_major(buffer.shape, index))
    if not form.terms.keys() <= known:
        return None
    return Use(buffer, index, form.terms, form.constant)


def _reads(value: Expr, known: set[Expr]) -> tuple[tuple[Use, ...], tuple[Buffer, ...]] | None:
    """The affine loads, and the tables; None where an index is neither affine nor data."""
    uses: list[Use] = []
    tables: list[Buffer] = []
    for node in walk(value):
        if node.op != "load":
            continue
        if any(part.op == "load" for index in node.args for part in walk(index)):
            tables.append(node.attr)
            continue
        use = _use(node.attr, node.args, known)
        if use is None:
            return None
        uses.append(use)
    return tuple(uses), tuple(dict.fromkeys(tables))


def _form(block: Block, value: Expr, moves: bool) -> Form:
    if not is_map(block):
        return Form.OTHER
    if moves:
        return Form.COPY
    return Form.FILL if is_fixed(value) else Form.MAP


def _folding(op: str, value: Expr, reads: tuple[Use, ...]) -> Form:
    if op not in FOLDS:
        return Form.OTHER
    product = op == "add" and _product(value)
    return Form.CONTRACTION if product and len(reads) == 2 else Form.REDUCTION


def _product(value: Expr) -> bool:
    """Whether a term is a product of two operands, each less a number or not."""
    while value.op == "cast":
        value = value.args[0]
    return value.op in ("mul", "widening_mul") and all(map(_operand, value.args))


def _operand(value: Expr) -> bool:
    """Whether an operand of a product is a load, widened, less a number or not."""
    while value.op == "cast" or (value.op in ("sub", "add") and is_fixed(value.args[1])):
        value = value.args[0]
    return value.op == "load"
