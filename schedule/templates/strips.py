"""A kernel of fewer output rows: what one strip of an image computes, as a kernel of its own.

    rows_of(func, strips_of(func, 8)[0])      the first 8 rows: padding above, 9 rows of x

A strip reads the input rows of its windows that exist; what lies above or below them is padding of
the strip. Strips are equally high: the last one begins earlier and computes some rows again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...tir.expr import Expr, transform
from ...tir.stmt import (
    Alloc,
    Block,
    Buffer,
    For,
    Iter,
    PrimFunc,
    Stmt,
    Store,
    children,
    map_exprs,
    rebuild_stmt,
    transform_stmt,
    walk_stmt,
)

WINDOWED = {  # kernels of windows, and the blocks of their lowering
    "conv2d": ("fill", "copy", "dot", "requant"),
    "depthwise": ("fill", "copy", "dot", "requant"),
    "pool": ("fill", "copy", "max", "out", "sum", "requant"),
}
POINTWISE = ("elementwise", "table")


@dataclass(frozen=True, slots=True)
class Strip:
    """Rows of one image: ``rows`` of the output from ``first`` on, which read ``count`` rows of the
    input from ``start`` on, with rows of padding ``above`` them."""

    image: int
    first: int
    rows: int
    start: int
    count: int
    above: int
    below: int

    @property
    def form(self) -> tuple[int, int]:
        """Strips of one form are the same kernel."""
        return self.count, self.above


@dataclass(frozen=True, slots=True)
class Rows:
    """How output rows read input rows: ``span(rows)`` of them, ``stride`` apart, from ``top``."""

    stride: int
    reach: int  # rows of one window
    top: int

    def span(self, rows: int) -> int:
        return (rows - 1) * self.stride + self.reach


def divisible(func: PrimFunc) -> bool:
    """Whether the output's rows can be computed strip by strip."""
    shapes = func.attrs.get("shapes", {})
    if any(len(shape) != 4 for shape in shapes.values()):
        return False
    kind = func.attrs.get("kind")
    blocks = {s.name for s in walk_stmt(func.body) if isinstance(s, Block)}
    if kind in POINTWISE:
        return blocks == {"point"} and not func.attrs.get("repeats") and _alike(func)
    return kind in WINDOWED and blocks <= {*WINDOWED[kind]}


def _alike(func: PrimFunc) -> bool:
    images = [p.shape for p in activations(func)]
    return len(set(images)) == 1 and len(images[0]) == 4


def activations(func: PrimFunc) -> list[Buffer]:
    """The parameters that are stored images: inputs, then the output."""
    return [p for p in func.params if p.name not in func.constants and len(p.shape) == 4]


def rows_read(func: PrimFunc) -> Rows:
    facts = func.attrs
    if facts["kind"] in POINTWISE:
        return Rows(1, 1, 0)
    kernel, dilation = facts["kernel"][0], facts["dilation"][0]
    return Rows(facts["stride"][0], (kernel - 1) * dilation + 1, facts["padding"][0][0])


def strips_of(func: PrimFunc, rows: int) -> list[Strip]:
    """The strips of so many output rows."""
    read, y = rows_read(func), func.params[-1]
    high = func.attrs["shapes"]["x"][2] if "x" in func.attrs["shapes"] else y.shape[1]
    found = []
    for image in range(y.shape[0]):
        for number in range(-(-y.shape[1] // rows)):
            first = min(number * rows, y.shape[1] - rows)
            wanted = first * read.stride - read.top
            start = min(max(wanted, 0), high)
            count = max(min(wanted + read.span(rows), high) - start, 0)
            above = max(start - wanted, 0)
            below = read.span(rows) - above - count
            found.append(Strip(image, first, rows, start, count, above, below))
    return found


def rows_of(func: PrimFunc, strip: Strip) -> PrimFunc:
    """The kernel of one strip, its images in TCM."""
    span = rows_read(func).span(strip.rows)
    moved = {b: _resized(func, b, strip, span) for b in _images(func)}
    extents = {"fill": span, "copy": strip.count}
    body = _cut(func.body, moved, extents, strip)
    params = tuple(moved.get(p, p) for p in func.params)
    return replace(func, params=params, body=body, attrs={**func.attrs, **_facts(func, strip)})


def _images(func: PrimFunc) -> list[Buffer]:
    local = [s.buffer for s in walk_stmt(func.body) if isinstance(s, Alloc)]
    return [*activations(func), *local]


def _resized(func: PrimFunc, buffer: Buffer, strip: Strip, span: int) -> Buffer:
    if buffer.name == "xp":
        rows = span
    elif buffer.name == "x" and func.attrs["kind"] not in POINTWISE:
        rows = strip.count
    else:
        rows = strip.rows
    scope = "tcm" if buffer in func.params else buffer.scope
    return replace(buffer, shape=(1, rows, *buffer.shape[2:]), scope=scope)


def _facts(func: PrimFunc, strip: Strip) -> dict[str, object]:
    shapes = dict(func.attrs["shapes"])
    for name, (_, channels, _, width) in shapes.items():
        own = name == "x" and func.attrs["kind"] not in POINTWISE
        shapes[name] = (1, channels, strip.count if own else strip.rows, width)
    facts: dict[str, object] = {"shapes": shapes}
    if "images" in func.attrs:
        facts["images"] = 1
    if "padding" in func.attrs:
        facts["padding"] = (strip.above, max(strip.below, 0)), func.attrs["padding"][1]
    return facts


def _cut(
    stmt: Stmt, moved: dict[Buffer, Buffer], extents: dict[str, int], strip: Strip
) -> Stmt:
    """The nests with the strip's extents, on its buffers."""
    match stmt:
        case For(axis, _, _, body):
            inner = _cut(body, moved, extents, strip)
            block = inner
            while isinstance(block, For):
                block = block.body
            if not isinstance(block, Block):
                return replace(stmt, body=inner)
            extent = next(it.extent for it in block.iters if it.binding == axis)
            return replace(stmt, extent=extent, body=inner)
        case Alloc(buffer, body):
            return Alloc(moved.get(buffer, buffer), _cut(body, moved, extents, strip))
        case Block():
            return _block(stmt, moved, extents.get(stmt.name, strip.rows), strip)
        case _:
            parts = [_cut(s, moved, extents, strip) for s in children(stmt)]
            return rebuild_stmt(stmt, tuple(parts))


def _block(block: Block, moved: dict[Buffer, Buffer], rows: int, strip: Strip) -> Block:
    def it(found: Iter) -> Iter:
        if found.axis.attr == "vn":
            return replace(found, extent=1)
        tall = found.axis.attr in ("vh", "vih", "voh")
        return replace(found, extent=rows) if tall else found

    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr not in moved:
            return None
        return Expr("load", expr.type, expr.args, moved[expr.attr])

    def store(found: Stmt) -> Stmt | None:
        if not isinstance(found, Store):
            return None
        index = found.index
        if block.name == "copy":
            row = next(it.axis for it in block.iters if it.axis.attr == "vih")
            index = (index[0], row + strip.above if strip.above else row, *index[2:])
        return replace(found, buffer=moved.get(found.buffer, found.buffer), index=index)

    def whole(stmt: Stmt) -> Stmt:
        return transform_stmt(map_exprs(stmt, lambda e: transform(e, node)), store)

    init = None if block.init is None else whole(block.init)
    return replace(block, iters=tuple(map(it, block.iters)), body=whole(block.body), init=init)
