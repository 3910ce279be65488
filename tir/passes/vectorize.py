"""Vectorized loops become vector expressions; several nested ones are lanes in row-major order.

    for j in vectorized(32):  for k in vectorized(4):
        acc[j] = acc[j] + cast(i32, x[k]) * cast(i32, w[j * 4 + k])

becomes (a vectorized reduction is a group sum; of min and max, pairs of lanes)

    acc[0:32] = acc[0:32] + group_sum(cast(i32, tile(x[0:4], 32)) * cast(i32, w[0:128]), 4)

A load whose lanes are consecutive stays one load; lanes in another order are written out as
``concat`` (outer axes) and ``interleave`` (inner axes) of consecutive loads; lanes that an index
does not mention are ``tile`` and ``repeat``; a load at a loaded byte is a ``lookup``. Runs on
flattened buffers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from functools import reduce as chain
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..bounds import Ranges
from ..evaluate_expr import MOVES_LANES, evaluate_expr, loads
from ..expr import Expr, const, free_vars, make, substitute, walk
from ..intervals import Interval
from ..linear import Linear, from_linear, linear
from ..ops import FOLDS
from ..simplifier import simplify
from ..stmt import (
    Block,
    For,
    If,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    children,
    map_exprs,
    rebuild_stmt,
    walk_stmt,
)
from ..types import Type, i32, u8, vector
from .checked import checked
from .pieces import Pieces, condition, is_choice
from .simplify import simplify_stmt

_ENTRIES = 256  # of a table
Axis = tuple[Expr, int]  # a loop variable and its extent


class VectorizeError(ValueError):
    """A loop cannot be vectorized; the message says which access is in the way."""


@checked
def vectorize_loops(func: PrimFunc, size: int) -> PrimFunc:
    """``func`` without vectorized loops, for vectors of ``size`` bytes: pieces of less are cut out
    of larger loads, or put together for a store."""
    return func.with_body(_stmt(func.body, (), {}, size))


def _stmt(stmt: Stmt, axes: tuple[Axis, ...], ranges: dict[Expr, Interval], size: int) -> Stmt:
    match stmt:
        case For(extent=1, kind=LoopKind.VECTORIZED):  # no lanes
            return _stmt(_at(stmt, 0, ranges), axes, ranges, size)
        case For(kind=LoopKind.VECTORIZED):
            return _stmt(stmt.body, (*axes, (stmt.axis, stmt.extent)), ranges, size)
        case Store() if axes:
            return _store(stmt, axes, ranges, size)
        case For() if axes:
            raise VectorizeError(
                f"vectorize: only stores may stand in a vectorized loop, but {stmt.axis.attr} does"
            )
        case For(kind=LoopKind.UNROLLED) if _chooses(stmt):
            steps = (_at(stmt, k, ranges) for k in range(stmt.extent))
            return Seq(tuple(_stmt(step, axes, ranges, size) for step in steps))
        case For(extent=1):
            return replace(stmt, body=_stmt(_at(stmt, 0, ranges), axes, ranges, size))
        case If() | Block() if axes:
            raise VectorizeError("vectorize: a vectorized loop must not hold a condition")
        case Seq() | For() | If() | _:
            below = children(stmt)
            if isinstance(stmt, For):
                ranges = {**ranges, stmt.axis: (0, stmt.extent - 1)}
            parts = tuple(_stmt(c, axes, ranges, size) for c in below)
            return rebuild_stmt(stmt, parts) if below else stmt


def _at(loop: For, step: int, ranges: Ranges) -> Stmt:
    """The body of a loop in one of its steps."""
    body = map_exprs(loop.body, lambda e: substitute(e, {loop.axis: const(step, i32)}))
    return simplify_stmt(body, ranges) if _chooses(loop) else body


def _chooses(loop: For) -> bool:
    """Whether lanes are chosen by the step of a loop, which it must know then, or lie in runs."""
    values = (stmt.value for stmt in walk_stmt(loop.body) if isinstance(stmt, Store))
    return any(_chooses_in(value, loop.axis) for value in values if loop.axis in value.free)


@lru_cache(maxsize=1 << 12)
def _chooses_in(value: Expr, axis: Expr) -> bool:
    return any([_chosen(node, axis) for node in walk(value) if node.op in ("select", "load")])


def _chosen(node: Expr, axis: Expr) -> bool:
    if node.op == "select":
        return axis in node.args[0].free and not node.args[0].reads
    return node.op == "load" and _bends(linear(node.args[0]), axis)


@dataclass(frozen=True, slots=True)
class _Lanes:
    """A value whose lanes are the cross product of the axes with ``used``, in order."""

    value: Expr
    used: tuple[bool, ...]


def _store(stmt: Store, axes: tuple[Axis, ...], ranges: Ranges, size: int) -> Stmt:
    if stmt.value.type.lanes > 1:
        raise VectorizeError(_several(stmt.value.type, stmt.buffer.name))
    form = linear(stmt.index[0])
    spatial = tuple(axis in form.terms for axis, _ in axes)
    vec = _Vectorizer(axes, ranges, size)
    vec.check_atoms(form)
    value = stmt.value
    reduces = [i for i, used in enumerate(spatial) if not used]
    if reduces:
        value = vec.reduction(stmt, spatial)
    else:
        value = vec.expand(vec.lanes(value), spatial)
    return vec.scatter(stmt, form, value, spatial)


def _several(kind: Type, buffer: str) -> str:
    return f"vectorize: accesses must be of single elements, but got {kind} of {buffer}"


class _Vectorizer:
    """``ranges`` are those of the loops around the lanes, ``size`` the bytes of a vector."""

    def __init__(self, axes: tuple[Axis, ...], ranges: Ranges, size: int) -> None:
        self.axes, self.ranges, self.size = axes, ranges, size
        self.names = frozenset(axis for axis, _ in axes)
        self.none, self.everything = (False,) * len(axes), (True,) * len(axes)
        self.memo: dict[Expr, _Lanes] = {}

    def count(self, used: tuple[bool, ...]) -> int:
        total = 1
        for (_, extent), here in zip(self.axes, used, strict=True):
            total *= extent if here else 1
        return total

    def lanes(self, node: Expr) -> _Lanes:
        found = self.memo.get(node)
        if found is None:
            found = self.memo[node] = self._lanes(node)
        return found

    def _lanes(self, node: Expr) -> _Lanes:
        if node.op in ("const", "hole"):
            return _Lanes(node, self.none)
        if node.op == "var":
            if self._is_axis(node):
                raise VectorizeError(
                    f"vectorize: the value must not use the axis {node.attr} itself"
                )
            return _Lanes(node, self.none)
        if node.op == "load":
            return self._looked_up(node) if self._by_data(node) else self._load(node)
        if node.type.kind == "b" and free_vars(node) & self.names and not loads(node):
            return self._mask(node)
        if is_choice(node, self.names) and (pieces := self._pieces(node)) is not None:
            return pieces
        if node.op == "lookup":
            index = self.lanes(node.args[1])
            if free_vars(node.args[0]) & self.names:
                raise VectorizeError(
                    f"vectorize: a table must be the same for all lanes, but got {node.args[0]}"
                )
            return _Lanes(make("lookup", node.args[0], index.value), index.used)
        args, used = self._together([self.lanes(arg) for arg in node.args])
        if node.op in ("cast", "sat_cast"):
            return _Lanes(Expr(node.op, vector(node.type, args[0].type.lanes), args), used)
        return _Lanes(make(node.op, *args, attr=node.attr), used)

    def _places(self) -> dict[Expr, NDArray[np.int64]]:
        """The value of each axis in each lane."""
        extents = [extent for _, extent in self.axes]
        grid = np.indices(extents, np.int64).reshape(len(extents), -1)
        return {axis: at for (axis, _), at in zip(self.axes, grid, strict=True)}

    def _pieces(self, node: Expr) -> _Lanes | None:
        """A choice between loads that the axes make."""
        value = self._parts().value(node)
        return None if value is None else _Lanes(value, self.everything)

    def _runs(self, node: Expr) -> _Lanes | None:
        """A load whose lanes lie together in runs."""
        value = self._parts().runs(node)
        return None if value is None else _Lanes(value, self.everything)

    def _parts(self) -> Pieces:
        return Pieces(
            self._places(), self.ranges, self.size, partial(_gather, size=self.size),
            partial(_insert, size=self.size),
            lambda part: self.expand(self.lanes(part), self.everything),
        )  # fmt: skip

    def _mask(self, node: Expr) -> _Lanes:
        """A condition on the axes alone: runs of lanes that hold, and of lanes that do not."""
        if not free_vars(node) <= self.names:
            raise VectorizeError(f"vectorize: a condition must speak of axes only, but got {node}")
        grid = self._places()
        everything = (True,) * len(grid)
        env = {str(axis.attr): at.reshape(-1, 1) for axis, at in grid.items()}
        holds = np.broadcast_to(evaluate_expr(node, env), (self.count(everything), 1))[:, 0]
        return _Lanes(condition(holds), everything)

    def _together(self, parts: list[_Lanes]) -> tuple[tuple[Expr, ...], tuple[bool, ...]]:
        """The values with lanes for all axes that any of them has, and which these are."""
        used = tuple(any(column) for column in zip(*(p.used for p in parts), strict=True))
        return tuple(self.expand(part, used) for part in parts), used

    def expand(self, part: _Lanes, used: tuple[bool, ...]) -> Expr:
        """``part`` with lanes for all axes of ``used``; missing ones are broadcast."""
        value, inner = part.value, 1
        if value.is_const:
            return Expr("const", vector(value.type, self.count(used)), (), value.attr)
        for i in reversed(range(len(self.axes))):
            extent = self.axes[i][1]
            if used[i] and not part.used[i] and extent > 1:
                value = _insert(value, inner, extent, self.size)
            if used[i]:
                inner *= extent
        return value

    def _load(self, node: Expr) -> _Lanes:
        if node.type.lanes > 1:
            raise VectorizeError(_several(node.type, node.attr.name))
        form = linear(node.args[0])
        bent = next((at for at, (axis, _) in enumerate(self.axes) if _bends(form, axis)), None)
        if bent is not None:
            return self._runs(node) or self._step_by_step(node, bent)
        strides = [form.terms.get(axis, 0) for axis, _ in self.axes]
        used = tuple(stride != 0 for stride in strides)
        rest = form.plus(form.only(self._is_axis), -1)
        digits = [(e, s) for (_, e), s in zip(self.axes, strides, strict=True) if s and e > 1]
        return _Lanes(_gather(node, rest, digits, self.size), used)

    def _step_by_step(self, node: Expr, at: int) -> _Lanes:
        """A load whose index is not linear in an axis: a part for each of its steps."""
        axis, extent = self.axes[at]
        inner = _Vectorizer((*self.axes[:at], *self.axes[at + 1 :]), self.ranges, self.size)
        ranges = {**self.ranges, **{other: (0, n - 1) for other, n in inner.axes}}
        indices = [
            simplify(substitute(node.args[0], {axis: const(step, i32)}), ranges)
            for step in range(extent)
        ]
        parts = [inner.lanes(Expr("load", node.type, (e,), node.attr)) for e in indices]
        values, used = inner._together(parts)
        before, after = inner.count((*used[:at], *self.none[at + 1 :])), values[0].type.lanes
        if before == after > 1:
            whole = make("interleave", *values)
        else:
            sizes = extent, before, after // before
            whole = make("concat", *values)
            whole = whole if before == 1 else make("transpose", whole, attr=(sizes, (1, 0, 2)))
        return _Lanes(whole, (*used[:at], True, *used[at:]))

    def _by_data(self, node: Expr) -> bool:
        """Whether an index is loaded, for each lane another one."""
        atoms = linear(node.args[0]).terms
        return any(loads(atom) and free_vars(atom) & self.names for atom in atoms)

    def _looked_up(self, node: Expr) -> _Lanes:
        """A load that a byte indexes: one look-up in the whole table."""
        index = node.args[0]
        narrow = index.args[0] if index.op == "cast" else index
        if node.attr.shape != (_ENTRIES,) or narrow.type.element != u8 or node.type.lanes > 1:
            raise VectorizeError(
                f"vectorize: a table has {_ENTRIES} entries and is indexed by bytes, but got {node}"
            )
        whole = Expr("load", vector(node.type, _ENTRIES), (const(0, i32),), node.attr)
        at = self.lanes(narrow)
        return _Lanes(make("lookup", whole, at.value), at.used)

    def _is_axis(self, atom: Expr) -> bool:
        return atom in self.names

    def check_atoms(self, form: Linear) -> None:
        for atom in form.terms:
            if not self._is_axis(atom) and free_vars(atom) & self.names:
                raise VectorizeError(
                    f"vectorize: an index must be linear in the axis, but got {atom}"
                )

    def reduction(self, stmt: Store, spatial: tuple[bool, ...]) -> Expr:
        """The stored sum, its term summed over the axes that the index does not mention."""
        first = max(i for i, used in enumerate(spatial) if used) if any(spatial) else -1
        if any(not used for used in spatial[: first + 1]):
            raise VectorizeError("vectorize: a vectorized reduction must be the innermost axis")
        value = stmt.value
        here = value.args[0] if value.op in FOLDS else None
        if here is None or here.op != "load" or here.attr != stmt.buffer or here.args != stmt.index:
            raise VectorizeError(
                "vectorize: a vectorized reduction must have the form a[i] = a[i] + term, or min "
                "or max of both"
            )
        everything = (True,) * len(self.axes)
        term = self.expand(self.lanes(value.args[1]), everything)
        n = self.count(tuple(not used for used in spatial))
        start = self.expand(self.lanes(here), spatial)
        if value.op == "add":
            return start + make("group_sum", term, attr=n)
        return make(value.op, start, _group(value.op, term, n, self.size))

    def scatter(self, stmt: Store, form: Linear, value: Expr, used: tuple[bool, ...]) -> Stmt:
        """The store, in pieces where the lanes are not consecutive in memory."""
        digits = [
            (e, form.terms[a]) for (a, e), u in zip(self.axes, used, strict=True) if u and e > 1
        ]
        rest = form.plus(form.only(self._is_axis), -1)
        stores: list[Stmt] = []
        _scatter(stmt, rest, digits, value, stores, self.size)
        return stores[0] if len(stores) == 1 else Seq(tuple(stores))


def _bends(form: Linear, axis: Expr) -> bool:
    """Whether an index follows from ``axis`` in another way than linearly."""
    return any(atom is not axis and axis in free_vars(atom) for atom in form.terms)


def _group(op: str, term: Expr, n: int, size: int) -> Expr:
    """The least or the largest of each ``n`` neighbouring lanes, by halves: narrow lanes as long as
    these fill registers."""
    if term.op == "cast" and term.args[0].type.is_int and term.type.holds(term.args[0].type):
        narrow = term.args[0]
        while n % 2 == 0 and narrow.type.lanes * narrow.type.bytes >= 2 * size:
            narrow, n = _paired(op, narrow, 2), n // 2
        term = Expr("cast", vector(term.type, narrow.type.lanes), (narrow,))
    while n > 1:
        ways = 2 if n % 2 == 0 else n
        term, n = _paired(op, term, ways), n // ways
    return term


def _paired(op: str, value: Expr, ways: int) -> Expr:
    parts = [make("deinterleave", value, attr=(k, ways)) for k in range(ways)]
    return chain(lambda a, b: make(op, a, b), parts)


def _insert(value: Expr, inner: int, extent: int, size: int) -> Expr:
    """A new axis of ``extent`` just outside the ``inner`` innermost lanes; narrow before wide, and
    before operators that would not fill a register."""
    total = value.type.lanes
    if value.is_const:
        return Expr("const", vector(value.type, total * extent), (), value.attr)
    if _inside(value, size):
        args = tuple([_insert(arg, inner, extent, size) for arg in value.args])
        return Expr(value.op, vector(value.type, total * extent), args, value.attr)
    if inner == total:
        return make("tile", value, attr=extent)
    if inner == 1:
        return make("repeat", value, attr=extent)
    parts = [
        make("tile", make("slice", value, attr=(start, inner)), attr=extent)
        for start in range(0, total, inner)
    ]
    return make("concat", *parts)


def _inside(value: Expr, size: int) -> bool:
    """Whether lanes are repeated before an operator: narrow ones before a cast, and where it would
    not fill a register otherwise."""
    if value.op in ("cast", "sat_cast"):
        source, inner = value.args[0].type, value.args[0].op
        made = source.lanes > 1 and inner not in MOVES_LANES | {"load"}
        return made or source.bits <= value.type.bits or source.lanes * source.bits >= 8 * size
    return value.op not in MOVES_LANES | {"load"} and _is_small(value, size)


@cache
def _is_small(value: Expr, size: int) -> bool:
    """Whether anything that a value is made of does not fill a register."""
    kind = value.type
    few = kind.lanes > 1 and kind.lanes * kind.bits < 8 * size
    return few or any(_is_small(arg, size) for arg in value.args)


def _consecutive(digits: list[tuple[int, int]]) -> bool:
    run = 1
    for extent, stride in reversed(digits):
        if stride != run:
            return False
        run *= extent
    return True


def _taken_apart(digits: list[tuple[int, int]]) -> int:
    """The lanes of each piece when axes are taken apart until pieces are consecutive."""
    while digits and not _consecutive(digits):
        digits = digits[:-1] if _from_inside(digits) else digits[1:]
    return prod(extent for extent, _ in digits)


def _memory_order(digits: list[tuple[int, int]]) -> list[int]:
    """The axes by distance in memory, the largest first."""
    return sorted(range(len(digits)), key=lambda i: -digits[i][1])


def _run(digits: list[tuple[int, int]]) -> int:
    """The consecutive lanes of the innermost axes."""
    first = next(i for i in range(len(digits) + 1) if _consecutive(digits[i:]))
    return prod(extent for extent, _ in digits[first:])


def _apart(digits: list[tuple[int, int]]) -> int | None:
    """An axis between others, all of whose steps are consecutive where it stands still."""
    inside = range(1, len(digits) - 1)
    return next((k for k in inside if _consecutive([*digits[:k], *digits[k + 1 :]])), None)


def _moved(value: Expr, have: list[int], digits: list[tuple[int, int]]) -> Expr:
    """``value``, whose axes stand in the order ``have``, with its axes in the order 0, 1, ..."""
    if have == sorted(have):
        return value
    sizes = tuple(digits[axis][0] for axis in have)
    order = tuple(have.index(axis) for axis in sorted(have))
    return make("transpose", value, attr=(sizes, order))


def _from_inside(digits: list[tuple[int, int]]) -> bool:
    """Whether to take the innermost axis apart: the outermost one holds the consecutive lanes, or
    more of them, where both move by one element."""
    (outer, stride), (inner, step) = digits[0], digits[-1]
    return stride == 1 and (step != 1 or outer > inner)


def _gather(node: Expr, start: Linear, digits: list[tuple[int, int]], size: int) -> Expr:
    """The load's lanes over ``digits`` (extent, stride), outermost first."""
    if _consecutive(digits):
        count = 1
        for extent, _ in digits:
            count *= extent
        return Expr("load", vector(node.type, count), (from_linear(start),), node.attr)
    if _taken_apart(digits) * node.type.bits < 8 * size:
        order = _memory_order(digits)
        ordered = [digits[i] for i in order]
        if ordered != digits and _run(ordered) > _taken_apart(digits):
            return _moved(_gather(node, start, ordered, size), order, digits)
        apart = _apart(digits)
        if apart is not None:
            (extent, stride), rest = digits[apart], [*digits[:apart], *digits[apart + 1 :]]
            parts = [_gather(node, start.shifted(k * stride), rest, size) for k in range(extent)]
            order = [apart, *(k for k in range(len(digits)) if k != apart)]
            return _moved(make("concat", *parts), order, digits)
    inner = _from_inside(digits)
    (extent, stride), rest = (digits[-1], digits[:-1]) if inner else (digits[0], digits[1:])
    if not rest and stride != 1:
        return _strided(node, start, extent, stride)
    parts = [_gather(node, start.shifted(step * stride), rest, size) for step in range(extent)]
    return make("interleave" if inner else "concat", *parts)


def _strided(node: Expr, start: Linear, extent: int, stride: int) -> Expr:
    """Lanes ``stride`` elements apart, one load each."""
    parts = [
        Expr("load", node.type, (from_linear(start.shifted(step * stride)),), node.attr)
        for step in range(extent)
    ]
    return make("concat", *parts)


def _scatter(
    stmt: Store,
    start: Linear,
    digits: list[tuple[int, int]],
    value: Expr,
    out: list[Stmt],
    size: int,
) -> None:
    if _consecutive(digits):
        out.append(replace(stmt, index=(from_linear(start),), value=value))
        return
    if _taken_apart(digits) * value.type.bits < 8 * size:
        order = _memory_order(digits)
        ordered = [digits[i] for i in order]
        if ordered != digits and _run(ordered) > _taken_apart(digits):
            lanes = [order.index(i) for i in range(len(order))]
            _scatter(stmt, start, ordered, _moved(value, lanes, ordered), out, size)
            return
    inner = _from_inside(digits)
    (extent, stride), rest = (digits[-1], digits[:-1]) if inner else (digits[0], digits[1:])
    lanes_each = value.type.lanes // extent
    for step in range(extent):
        part = (
            make("deinterleave", value, attr=(step, extent))
            if inner
            else make("slice", value, attr=(step * lanes_each, lanes_each))
        )
        _scatter(stmt, start.shifted(step * stride), rest, part, out, size)
