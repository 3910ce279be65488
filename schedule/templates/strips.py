"""A kernel of fewer output rows: what one strip of an image computes, as a kernel of its own.

    rows_of(func, strips_of(func, 8)[0])      the first 8 rows: padding above, 9 rows of x

A strip reads the input rows of its windows that exist; what lies above or below them is padding of
the strip. Strips are equally high: the last one begins earlier and computes some rows again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...tir.stmt import Alloc, Block, Buffer, Iter, PrimFunc, Stmt, Store, transform_stmt, walk_stmt
from .resize import resized

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
    """The strips of ``rows`` output rows each."""
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

    def extent(block: Block, it: Iter) -> int:
        if it.axis.attr == "vn":
            return 1
        rows = extents.get(block.name, strip.rows)
        return rows if it.axis.attr in ("vh", "vih", "voh") else it.extent

    body = resized(transform_stmt(func.body, lambda s: _below(s, strip.above)), moved, extent)
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
    shapes, meant = dict(func.attrs["shapes"]), dict(func.attrs["meant"])
    for name, (_, channels, _, width) in shapes.items():
        own = name == "x" and func.attrs["kind"] not in POINTWISE
        rows = strip.count if own else strip.rows
        shapes[name] = (1, channels, rows, width)
        meant[name] = (1, rows, width, channels)
    facts: dict[str, object] = {"shapes": shapes, "meant": meant}
    if "images" in func.attrs:
        facts["images"] = 1
    if "padding" in func.attrs:
        facts["padding"] = (strip.above, max(strip.below, 0)), func.attrs["padding"][1]
    return facts


def _below(stmt: Stmt, rows: int) -> Stmt | None:
    """The block ``copy`` with ``rows`` rows of padding above what it copies."""
    if not isinstance(stmt, Block) or stmt.name != "copy":
        return None
    assert isinstance(stmt.body, Store)
    row = next(it.axis for it in stmt.iters if it.axis.attr == "vih")
    n, _, *rest = stmt.body.index
    index = (n, row + rows if rows else row, *rest)
    return replace(stmt, body=replace(stmt.body, index=index))
