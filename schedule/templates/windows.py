"""Pooling restated: windows as expressions over vectors, in loops over tiles of rows.

direct    y = join of all taps
rows      t = maximum over the window's rows, whole vectors;  y = maximum over its columns of t
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, cast, const, load, maximum, minimum, transform
from ...tir.stmt import (
    Alloc,
    Block,
    Buffer,
    For,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    seq,
    walk_stmt,
)
from ...tir.types import i32, u8
from ..knobs import Point, number
from .move import Copy, copy_of, flat_copy, shared_axis, written
from .nests import loop_var, nest, plus, reshaped, times
from .sums import summed

LANES = 128


@dataclass(frozen=True, slots=True)
class Shape:
    """One pooling: the image that windows read, as rows of bytes, and the windows over it."""

    images: int
    rows: int  # of the output
    columns: int  # of the output: all that mean something, in whole vectors
    deep: int  # bytes of a pixel
    source: Buffer  # the input's bytes, or its padded copy
    pitch: int  # bytes of a row of it
    lines: int  # rows of an image of it
    height: int  # rows of it that mean something
    width: int  # columns that do
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    top: int
    left: int
    padded: bool  # windows reach outside of the source

    @property
    def near(self) -> bool:
        """Whether rows outside of the source are asked for: then their places come from a table."""
        last = (self.rows - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0]
        return self.padded and (self.top > 0 or last > self.height - 1)

    def byte(self, n: Expr, row: Expr, tap: int, at: Expr) -> Expr:
        """A byte of the source: in the row that tap ``tap`` of the output's row ``row`` reads."""
        down = plus(times(row, self.stride[0]), tap * self.dilation[0])
        if self.near:
            start = load(near_rows(self), down) * self.pitch
        else:
            start = times(down, self.pitch)
        image = times(n, self.lines * self.pitch)
        return self.source[start + at if self.images == 1 else image + start + at]

    @property
    def reach(self) -> int:
        """Columns that all stored windows read, from the first padded one on."""
        return (self.columns - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1

    @property
    def pixels(self) -> int:
        """Pixels that one vector holds at most."""
        return max(LANES // self.deep, 1)

    @property
    def gathers(self) -> bool:
        """Whether neighbouring pixels of the output come from pixels that lie apart."""
        return self.deep < LANES and self.stride[1] > 1

    @property
    def vectors(self) -> int:
        """Vectors of one row of the output."""
        return self.columns * self.deep // LANES


def shape_of(func: PrimFunc, largest: bool) -> Shape:
    """The shape of a kernel; maxima read the input itself where nearest rows may stand in."""
    facts, x, y = func.attrs, func.params[0], func.params[-1]
    logical = facts["shapes"]["x"]
    (top, _), (left, _) = facts["padding"]
    source, height, width = x, logical[2], logical[3]
    reads = next(
        b for b in walk_stmt(func.body) if isinstance(b, Block) and b.name in ("max", "sum")
    )
    assert isinstance(reads.body, Store)
    copied = next(e.attr for e in _loads(reads.body.value) if e.attr.name != "acc")
    padded = copied.name != x.name
    rows, stride, span = y.shape[1], facts["stride"][0], facts["kernel"][0]
    near = facts["dilation"][0] == 1 and top < span and (rows - 1) * stride - top < height
    if padded and not (largest and near):
        source, height, width = copied, copied.shape[1], copied.shape[2]
        top, left, padded = 0, 0, False
    flat = replace(source, shape=(source.size,))
    deep, wanted = y.shape[3], facts["shapes"]["y"][3]
    together = max(LANES // deep, 1)
    return Shape(
        images=y.shape[0], rows=rows, columns=-(-wanted // together) * together, deep=deep,
        source=flat, pitch=source.shape[2] * source.shape[3], lines=source.shape[1],
        height=height, width=width, kernel=facts["kernel"], stride=facts["stride"],
        dilation=facts["dilation"], top=top, left=left, padded=padded,
    )  # fmt: skip


def prefix(func: PrimFunc) -> list[Copy]:
    """The steps by which lowering makes the padded copy first; buffers are rows of bytes."""
    made, body = [], func.body
    while isinstance(body, Alloc):
        made += [body.buffer] if body.buffer.name == "xp" else []
        body = body.body
    parts = body.stmts if isinstance(body, Seq) else (body,)
    copies = [copy_of(part) for part in parts]
    return [flat_copy(copy) for copy in copies if copy is not None and copy.target in made]


def _loads(value: Expr) -> list[Expr]:
    from ...tir.expr import walk

    return [e for e in walk(value) if e.op == "load"]


# The kernel restated ------------------------------------------------------------------------


def restated(
    func: PrimFunc, shape: Shape, machine: Machine, point: Point, largest: bool
) -> PrimFunc:
    """``func`` as nests over tiles of rows."""
    x, y = func.params[0], func.params[-1]
    own = shape.source.name == x.name
    copies = [] if own else prefix(func)
    first = [written(copy, shared_axis(copy, machine, "rows")) for copy in copies]
    moved = {y: replace(y, shape=(*y.shape[:2], y.shape[2] * y.shape[3]))}
    moved[x] = replace(x, shape=(x.size,))
    body = _rows(func, shape, point, moved[y], largest)
    body = seq(*first, body)
    if not own:
        body = Alloc(shape.source, body)
    if shape.near:
        body = Alloc(near_rows(shape), seq(_near(shape), body))
    return reshaped(func, moved, body)


def _rows(func: PrimFunc, shape: Shape, point: Point, y: Buffer, largest: bool) -> Stmt:
    """The loops over images and tiles of rows, and what happens below: images on threads, or the
    rows of one image after another."""
    tiles = shape.rows // number(point, "tile")
    if point["share"] == "images":
        whole = Loops(shape, point, (("n", shape.images), ("h", tiles)), None)
        return _looped(func, whole, y, largest)
    images = [Loops(shape, point, ((f"h_{image}", tiles),), image) for image in range(shape.images)]
    return seq(*(_looped(func, loops, y, largest) for loops in images))


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops around all blocks: over images and tiles of rows, or over tiles of one image.

    ``t`` holds the maxima of a tile's rows; each thread has its own.
    """

    shape: Shape
    point: Point
    outer: tuple[tuple[str, int], ...]
    image: int | None

    @property
    def tile(self) -> int:
        return number(self.point, "tile")

    @property
    def mark(self) -> str:
        return "" if self.image is None else f"_{self.image}"

    @property
    def t(self) -> Buffer:
        return Buffer(f"t{self.mark}", u8, (self.tile, padded_row(self.shape)), "tcm")

    def split(self, axes: Sequence[Expr]) -> tuple[Expr, Expr, Expr, Expr, tuple[Expr, ...]]:
        """(image, tile, vector, row of the tile, lanes) of a block's axes."""
        if self.image is None:
            n, h, v, i, *lanes = axes
        else:
            n, (h, v, i, *lanes) = const(self.image, i32), axes
        return n, h, v, i, tuple(lanes)


def _looped(func: PrimFunc, loops: Loops, y: Buffer, largest: bool) -> Stmt:
    shape, tile, direct = loops.shape, loops.tile, loops.point["mode"] == "direct"
    join = _largest if largest else _mean(func)
    down, across = (range(taps) for taps in shape.kernel)
    first, step = _origin(shape) - shape.left * shape.deep, shape.dilation[1] * shape.deep

    def value(n: Expr, h: Expr, i: Expr, at: Expr) -> Expr:
        if not direct:
            return join([loops.t[i, plus(at, first + kw * step)] for kw in across])
        row = plus_row(h, i, tile)
        return join([shape.byte(n, row, kh, plus(at, kw * step)) for kw in across for kh in down])

    body = _out(loops, y, value)
    if not direct:
        body = Alloc(loops.t, seq(*_tall(loops), body))
    for place, (name, extent) in reversed(list(enumerate(loops.outer))):
        kind = LoopKind.SERIAL if place else LoopKind.PARALLEL  # no two tiles write one row
        body = For(loop_var(name), extent, kind, body)
    return body


def padded_row(shape: Shape) -> int:
    """Bytes of a row of ``t``: all that the windows read, and the vectors that are written."""
    written = source_vectors(shape) * LANES
    after = _used(shape) * shape.deep + _pad_vectors(shape) * LANES
    need = max((shape.reach - shape.left) * shape.deep, written, after) + LANES
    return _origin(shape) + -(-need // LANES) * LANES


def _origin(shape: Shape) -> int:
    """Where the source's first column lies in a row of ``t``: zeros stand before it."""
    return -(-shape.left * shape.deep // LANES) * LANES


def _used(shape: Shape) -> int:
    """Columns of the source that windows may read."""
    return min(shape.width, shape.reach - shape.left)


def source_vectors(shape: Shape) -> int:
    return -(-_used(shape) * shape.deep // LANES)


def _pad_vectors(shape: Shape) -> int:
    """Vectors of zeros behind a row, as far as padding on the right reaches."""
    beyond = shape.reach - shape.left - shape.width
    return -(-beyond * shape.deep // LANES) if shape.padded and beyond > 0 else 0


def _tall(loops: Loops) -> list[Stmt]:
    """Rows of ``t``: zeros on the left, the maximum of each column's taps, zeros on the right."""
    shape, t, origin = loops.shape, loops.t, _origin(loops.shape)

    def zeros(start: int) -> Callable[..., Store]:
        def store(*axes: Expr) -> Store:
            _, _, v, i, (lane,) = loops.split(axes)
            return Store(t, (i, plus(times(v, LANES) + lane, start)), const(0, u8))

        return store

    def column(*axes: Expr) -> Store:
        n, h, v, i, (lane,) = loops.split(axes)
        row, at = plus_row(h, i, loops.tile), times(v, LANES) + lane
        taps = [shape.byte(n, row, kh, at) for kh in range(shape.kernel[0])]
        return Store(t, (i, plus(at, origin)), _largest(taps))

    def over(name: str, vectors: int, store: Callable[..., Store]) -> list[Stmt]:
        axes = (("v", vectors), ("i", loops.tile), ("lane", LANES))
        return [nest(name + loops.mark, axes, store, loops.outer)] if vectors else []

    return [
        *over("left", origin // LANES, zeros(0)),
        *over("tall", source_vectors(shape), column),
        *over("right", _pad_vectors(shape), zeros(origin + _used(shape) * shape.deep)),
    ]


def plus_row(h: Expr, i: Expr, tile: int) -> Expr:
    """The row of a tile."""
    return times(h, tile) + i


def near_rows(shape: Shape) -> Buffer:
    """The row to read for each that windows ask for: outside of the source, the nearest inside."""
    asked = (shape.rows - 1) * shape.stride[0] + shape.kernel[0]
    return Buffer("near", i32, (asked,), "tcm")


def _near(shape: Shape) -> Stmt:
    near = near_rows(shape)

    def store(k: Expr) -> Store:
        row = maximum(minimum(plus(k, -shape.top), shape.height - 1), 0)
        return Store(near, (k,), row)

    return nest("near", [("k", near.size)], store)


def _out(loops: Loops, y: Buffer, value: Callable[[Expr, Expr, Expr, Expr], Expr]) -> Stmt:
    """The output's vectors: whole pixels apart where they are gathered or wider than a vector."""
    shape, tile = loops.shape, loops.tile
    step = shape.stride[1] * shape.deep
    if shape.gathers:
        axes = (("v", shape.vectors), ("i", tile), ("p", shape.pixels), ("c", shape.deep))
    elif shape.deep > LANES:
        axes = (("v", shape.columns), ("i", tile), ("p", shape.deep // LANES), ("c", LANES))
    else:
        axes = (("v", shape.vectors), ("i", tile), ("p", 1), ("c", LANES))
        step = LANES * (shape.stride[1] if shape.deep == LANES else 1)

    def store(*axes: Expr) -> Store:
        n, h, v, i, (p, c) = loops.split(axes)
        row = plus_row(h, i, tile)
        if shape.gathers:
            pixel = times(v, shape.pixels) + p
            here, there = pixel * shape.deep + c, pixel * step + c
        else:
            inner = p * LANES + c if shape.deep > LANES else c
            here, there = v * max(shape.deep, LANES) + inner, v * step + inner
        return Store(y, (n, row, here), value(n, h, i, there))

    return nest(f"out{loops.mark}", axes, store, loops.outer)


def _largest(taps: list[Expr]) -> Expr:
    """The maximum, as a tree: shared columns of taps stay whole."""
    return reduce(maximum, taps)


def _mean(func: PrimFunc) -> Callable[[list[Expr]], Expr]:
    """The sum of bytes, exact in u16 as far as it goes, requantized as ``func`` does."""
    total = next(b for b in walk_stmt(func.body) if isinstance(b, Block) and b.name == "sum")
    last = next(b for b in walk_stmt(func.body) if isinstance(b, Block) and b.name == "requant")
    assert isinstance(total.init, Store) and isinstance(last.body, Store)
    start, value = total.init.value, last.body.value

    def join(taps: list[Expr]) -> Expr:
        whole = plus(cast(i32, summed(taps)), start)
        return transform(
            value, lambda e: whole if e.op == "load" and e.attr.name == "acc" else None
        )

    return join
