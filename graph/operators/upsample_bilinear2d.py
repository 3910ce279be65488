"""upsample_bilinear2d: each pixel between four of the image; a 1-d one is of height 1.

    q_upsample_bilinear2d(x u8 [N,C,H,W]) rows row_parts columns column_parts
        t[h, j] = (128 - p[j]) * x[h, columns[j]] + p[j] * x[h, columns[j] + 1]
        y[i, j] = ((128 - p[i]) * t[rows[i], j] + p[i] * t[rows[i] + 1, j] + 2**13) >> 14

with p the parts, in 128ths: t <= 255 * 128 fits u16, and sums are at most 255 * 2**14. An axis of
one pixel is read as it is. Parts are those of torch, rounded: by a factor of 2 they are exact. An
axis takes a nest for each piece of its numbers (``graph/periods.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, const, make
from ...tir.stmt import Buffer, Store
from ...tir.types import i32, u8, u16
from ..aten import image
from ..attributes import Shape, integers, require
from ..emitting import Emitter, FloatStep
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_nest import LoopAxis
from ..lower_site import Site
from ..periods import pieces
from ..spec import Aten, Integer, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value

BITS = 7  # of parts of a whole
ONE = 1 << BITS


# ATen calls --------------------------------------------------------------------------------------


def aten_upsample(b: GraphBuilder, input: Value = None, **arguments: Any) -> Value:
    """The overload ``vec`` calls its tensor input, the other one self."""
    x = arguments.pop("self", input)
    flat = len(b.shape(x)) == 3
    made = image(b, x, flat)
    extents = b.shape(made)[2:]
    sizes = (1, *b.result[2:]) if flat else b.result[2:]
    scales = _scales(arguments, flat)
    found = [
        _between(extent, size, scale, bool(arguments["align_corners"]))
        for extent, size, scale in zip(extents, sizes, scales, strict=True)
    ]
    (rows, row_parts), (columns, column_parts) = found
    attrs = {"rows": rows, "row_parts": row_parts, "columns": columns, "column_parts": column_parts}
    return b.reshape(b.emit("upsample_bilinear2d", made, **attrs), b.result)


def _scales(arguments: Any, flat: bool) -> list[float | None]:
    """The factors of both axes that torch uses where they are given."""
    given = arguments.get("scale_factors") or [
        arguments.get(name) for name in ("scales", "scales_h", "scales_w") if name in arguments
    ]
    found = list(given) if given else [None] * (1 if flat else 2)
    return [None, *found] if flat else found


def _between(
    extent: int, size: int, scale: float | None, corners: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For each pixel of the result along an axis, the one before it and the part of the next."""
    if corners:
        places = [i * (extent - 1) / max(size - 1, 1) for i in range(size)]
    else:
        step = 1 / scale if scale else extent / size
        places = [max((i + 0.5) * step - 0.5, 0.0) for i in range(size)]
    found = [min(int(place), max(extent - 2, 0)) for place in places]
    parts = [min(round((place - at) * ONE), ONE) for place, at in zip(places, found, strict=True)]
    return tuple(found), tuple(parts) if extent > 1 else (0,) * size


# Both meanings -----------------------------------------------------------------------------------


def upsample_bilinear2d(
    torch: Any,
    x: Tensor,
    *,
    rows: tuple[int, ...],
    row_parts: tuple[int, ...],
    columns: tuple[int, ...],
    column_parts: tuple[int, ...],
) -> Any:
    """Pixel (i, j) of the result lies between rows[i] and the next, columns[j] and the next."""
    for axis, numbers, parts in ((3, columns, column_parts), (2, rows, row_parts)):
        first = torch.tensor(numbers, device=x.device)
        after = (first + 1).clamp(max=x.shape[axis] - 1)
        share = torch.tensor(parts, device=x.device) / ONE
        share = share.reshape(-1, *[1] * (3 - axis)).to(x.dtype)
        one, other = x.index_select(axis, first), x.index_select(axis, after)
        x = one * (1 - share) + other * share
    return x


def quantize(emit: Emitter, step: FloatStep) -> None:
    """Under the map of the result, which is that of the input: nothing lies beyond its values."""
    emit.node(step, Q_BILINEAR.name, [emit.as_output(step, step.inputs[0])], step.attrs)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x = inputs[0].astype(np.int64)
    for axis, name in ((3, "column"), (2, "row")):
        first = np.array(integers(node, f"{name}s"))
        parts = np.array(integers(node, f"{name}_parts")).reshape(-1, *[1] * (3 - axis))
        after = np.minimum(first + 1, x.shape[axis] - 1)
        x = x.take(first, axis) * (ONE - parts) + x.take(after, axis) * parts
    return np.asarray((x + (1 << (2 * BITS - 1))) >> 2 * BITS, np.uint8)


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(len(shapes[0]) == 4, node, "the input has four axes", shapes[0])
    sizes = []
    for name, extent in zip(("row", "column"), shapes[0][2:], strict=True):
        numbers, parts = integers(node, f"{name}s"), integers(node, f"{name}_parts")
        most = max(extent - 2, 0)
        there = bool(numbers) and 0 <= min(numbers) and max(numbers) <= most
        require(there, node, f"{name}s are in 0..{most}", numbers)
        whole = len(parts) == len(numbers) and 0 <= min(parts) and max(parts) <= ONE
        require(whole, node, f"each has a part of {ONE}", parts)
        sizes.append(len(numbers))
    return (*shapes[0][:2], *sizes)


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """Each pixel once of which the result has a part."""
    return prod(shapes[0][:2]) * prod(
        len({at + more for at, part in zip(integers(node, f"{name}s"),
                                           integers(node, f"{name}_parts"), strict=True)
             for more in (0, 1) if (ONE - part, part)[more]})
        for name in ("row", "column"))  # fmt: skip


# The lowering ------------------------------------------------------------------------------------


def lower(site: Site) -> Kernel:
    """Columns of all rows in u16, then rows of those."""
    x, y = site.input(0, "x"), site.output()
    images, height, width, _ = x.shape
    height, width = site.shape(site.node.inputs[0])[2:]
    deep = min(x.shape[3], y.shape[3])
    n, c = LoopAxis("n", images), LoopAxis("c", deep)
    between = site.nests.alloc(Buffer("t", u16, (images, height, y.shape[2], deep), "tcm"))
    shares = _shares(site, "column", y.shape[2], deep)
    h = LoopAxis("h", height)
    for number, piece in enumerate(pieces(integers(site.node, "columns"))):
        loops = piece.axes("w")
        to, come = piece.places(loops)
        after = come + 1 if width > 1 else come
        terms = [
            make("widening_mul", x[n.var, h.var, at, c.var], share[to, c.var])
            for at, share in zip((come, after), shares, strict=True)
        ]
        store = Store(between, (n.var, h.var, to, c.var), terms[0] + terms[1])
        site.nests.add(f"columns{number}", [n, h, *loops, c], store)
    shares, w = _shares(site, "row", y.shape[1], 1), LoopAxis("w", y.shape[2])
    for number, piece in enumerate(pieces(integers(site.node, "rows"))):
        loops = piece.axes("h")
        to, come = piece.places(loops)
        after = come + 1 if height > 1 else come
        total = _weighted(between, shares, (n.var, w.var, c.var), (come, after), to)
        store = Store(y, (n.var, to, w.var, c.var), total)
        site.nests.add(f"rows{number}", [n, *loops, w, c], store)
    return site.kernel("resize")


def _weighted(
    t: Buffer,
    shares: Sequence[Buffer],
    at: tuple[Expr, Expr, Expr],
    rows: tuple[Expr, Expr],
    to: Expr,
) -> Expr:
    """A byte between two rows."""
    n, w, c = at
    first, after = (
        make("widening_mul", t[n, row, w, c], cast(u16, share[to, const(0, i32)]))
        for row, share in zip(rows, shares, strict=True)
    )
    shift = const(2 * BITS, first.type)
    return cast(u8, make("rounding_shr", first + after, shift))


def _shares(site: Site, name: str, stored: int, lanes: int) -> list[Buffer]:
    """The part of the pixel before and of that after each one, for all lanes."""
    parts = np.zeros(stored, np.uint8)
    parts[: len(integers(site.node, f"{name}_parts"))] = integers(site.node, f"{name}_parts")
    both = (ONE - parts, parts)
    return [
        site.constant(f"{name}{place}", np.repeat(part[:, None], lanes, 1).astype(np.uint8))
        for place, part in enumerate(both)
    ]


Q_BILINEAR = Integer("q_upsample_bilinear2d", ("u8",), evaluate, shape_of, lower, reads=reads)
SPECS = (
    Spec(
        "upsample_bilinear2d",
        aten=(Aten(("upsample_linear1d", "upsample_bilinear2d"), aten_upsample, whole=True),),
        meaning=upsample_bilinear2d,
        quantize=quantize,
        moves=True,
        integer=Q_BILINEAR,
    ),
)
