"""Writes loop nests: one named block a step, serial loops whose names are unique in the function.

    nests = Nests()
    nests.add("copy", [Axis("h", 8), Axis("w", 8)], lambda h, w: Store(y, (h, w), x[h, w]))

gives

    for h in serial(8):
        for w in serial(8):
            with block("copy"):
                vh = spatial(8, h) ...
                y[vh, vw] = x[vh, vw]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..tir.expr import Expr, var, walk
from ..tir.linear import linear
from ..tir.stmt import Alloc, Block, Buffer, For, Iter, LoopKind, Stmt, Store, seq


@dataclass(frozen=True, slots=True)
class LoopAxis:
    """One loop. ``stored`` is how far it may run where that is harmless (see ``grown``)."""

    name: str
    extent: int
    reduce: bool = False
    stored: int = 0

    @property
    def var(self) -> Expr:
        """The block's variable."""
        return var(f"v{self.name}")


@dataclass(slots=True)
class Nests:
    """The steps of a kernel, in order, and its local buffers."""

    stmts: list[Stmt] = field(default_factory=list)
    locals: list[Buffer] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)

    def alloc(self, buffer: Buffer) -> Buffer:
        self.locals.append(buffer)
        return buffer

    def add(
        self, name: str, axes: Sequence[LoopAxis], body: Store, init: Store | None = None
    ) -> None:
        """A nest around the block ``name``; the stores mention the axes' variables."""
        loops = [self._loop(axis) for axis in axes]
        iters = tuple(
            Iter(a.var, a.extent, a.reduce, loop) for a, loop in zip(axes, loops, strict=True)
        )
        nest: Stmt = Block(name, iters, body, init)
        for axis, loop in zip(reversed(axes), reversed(loops), strict=True):
            nest = For(loop, axis.extent, LoopKind.SERIAL, nest)
        self.stmts.append(nest)

    def _loop(self, axis: LoopAxis) -> Expr:
        count = self.taken.get(axis.name, 0)
        self.taken[axis.name] = count + 1
        return var(f"{axis.name}_{count}" if count else axis.name)

    def body(self) -> Stmt:
        whole = seq(*self.stmts)
        for buffer in reversed(self.locals):
            whole = Alloc(buffer, whole)
        return whole


def box(buffer: Buffer) -> list[LoopAxis]:
    """Axes n, h, w, c over everything that ``buffer`` stores, pads included."""
    return [LoopAxis(name, size) for name, size in zip("nhwc", buffer.shape, strict=True)]


def variables(axes: Iterable[LoopAxis]) -> tuple[Expr, ...]:
    return tuple(axis.var for axis in axes)


def grown(axes: Sequence[LoopAxis], store: Store) -> list[LoopAxis]:
    """Axes run on into the pads, up to ``stored``, where no access of ``store`` leaves its buffer.

    Then whole vectors are computed; what comes out in the pads means nothing.
    """
    out = list(axes)
    for i, axis in enumerate(axes):
        wide = replace(axis, extent=max(axis.stored, axis.extent))
        if wide != axis and _inside(store, [*out[:i], wide, *out[i + 1 :]]):
            out[i] = wide
    return out


Accesses = Iterable[tuple[Buffer, Sequence[Expr]]]


def _inside(store: Store, axes: Sequence[LoopAxis]) -> bool:
    extents = {axis.var: axis.extent for axis in axes}
    return all(
        reach(index, extents) < size
        for buffer, where in _accesses(store)
        for index, size in zip(where, buffer.shape, strict=True)
    )


def _accesses(store: Store) -> Accesses:
    yield store.buffer, store.index
    for node in walk(store.value):
        if node.op == "load":
            yield node.attr, node.args


def reach(index: Expr, extents: dict[Expr, int]) -> int:
    """The largest value of an index; an index that is data (of a table) is in range by itself."""
    form = linear(index)
    if not form.terms.keys() <= extents.keys():
        return -1
    return form.constant + sum(max(scale * (extents[v] - 1), 0) for v, scale in form.terms.items())
