"""upsample_nearest2d: pixels by rows and columns of the image; a 1-d one is of height 1.

    upsample_nearest2d(x u8 [N,C,H,W]) rows columns:  y[..., i, j] = x[..., rows[i], columns[j]]

By whole factors it is a repetition, so a reshape, an expand and a reshape. Else torch says which
pixel is nearest: it rounds the factor to a float32. An axis takes a copy for each piece of its
numbers (``graph/periods.py``): first columns, then rows of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.stmt import Buffer, Store
from ...tir.types import u8
from ..aten import image
from ..attributes import Shape, integers, require
from ..emitting import move_values
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_nest import LoopAxis
from ..lower_site import Site
from ..periods import pieces
from ..spec import Aten, Integer, Spec, always

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


# ATen calls --------------------------------------------------------------------------------------


def aten_upsample(b: GraphBuilder, input: Value = None, **arguments: Any) -> Value:
    """The overload ``vec`` calls its tensor input, the other one self."""
    x = arguments.pop("self", input)
    flat = len(b.shape(x)) == 3
    n, c, *extents = b.shape(image(b, x, flat))
    rows, columns = (_nearest(extents, axis, flat, arguments) for axis in (0, 1))
    factors = len(rows) // extents[0], len(columns) // extents[1]
    if all(map(_repeats, (rows, columns), extents, factors)):
        apart = b.reshape(x, (n, c, extents[0], 1, extents[1], 1))
        whole = (n, c, extents[0], factors[0], extents[1], factors[1])
        return b.reshape(b.emit("expand", apart, shape=whole), b.result)
    y = b.emit("upsample_nearest2d", image(b, x, flat), rows=rows, columns=columns)
    return b.reshape(y, b.result)


def _nearest(extents: Sequence[int], axis: int, flat: bool, arguments: Any) -> tuple[int, ...]:
    """The pixel along an axis that torch takes for each of the result."""
    import torch

    numbers = torch.arange(extents[axis], dtype=torch.float32)
    numbers = (numbers[None] if axis else numbers[:, None]).expand(*extents)
    if flat:
        space, numbers = torch.ops.aten.upsample_nearest1d, numbers[0]
    else:
        space = torch.ops.aten.upsample_nearest2d
    call = space.vec if "scale_factors" in arguments else space.default
    found = call(numbers[None, None], *arguments.values())[0, 0]
    if flat:
        found = found[None]
    return tuple(map(int, found[0] if axis else found[:, 0]))


def _repeats(numbers: Sequence[int], extent: int, factor: int) -> bool:
    return list(numbers) == [i // max(factor, 1) for i in range(extent * factor)]


# Both meanings -----------------------------------------------------------------------------------


def upsample_nearest2d(
    torch: Any, x: Tensor, *, rows: tuple[int, ...], columns: tuple[int, ...]
) -> Any:
    """Pixel (i, j) of the result is pixel (rows[i], columns[j]) of x."""
    down, along = (torch.tensor(numbers, device=x.device) for numbers in (rows, columns))
    return x.index_select(2, down).index_select(3, along)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    rows, columns = integers(node, "rows"), integers(node, "columns")
    return np.ascontiguousarray(inputs[0][:, :, rows][:, :, :, columns])


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(len(shapes[0]) == 4, node, "the input has four axes", shapes[0])
    sizes = []
    for name, extent in zip(("rows", "columns"), shapes[0][2:], strict=True):
        numbers = integers(node, name)
        there = bool(numbers) and 0 <= min(numbers) and max(numbers) < extent
        require(there, node, f"{name} are in 0..{extent - 1}", numbers)
        sizes.append(len(numbers))
    return (*shapes[0][:2], *sizes)


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """Each pixel once that any of the result is."""
    return prod(shapes[0][:2]) * prod(len({*integers(node, at)}) for at in ("rows", "columns"))


# The lowering ------------------------------------------------------------------------------------


def lower(site: Site) -> Kernel:
    x, y = site.input(0, "x"), site.output()
    rows, columns = integers(site.node, "rows"), integers(site.node, "columns")
    images, height = x.shape[:2]
    down, along = (list(numbers) != list(range(len(numbers))) for numbers in (rows, columns))
    between = y
    if down and along:
        between = site.nests.alloc(Buffer("t", u8, (images, height, *y.shape[2:]), "tcm"))
    n, c = LoopAxis("n", images), LoopAxis("c", min(x.shape[3], y.shape[3]))
    if along:
        h = LoopAxis("h", between.shape[1])
        for number, piece in enumerate(pieces(columns)):
            loops = piece.axes("w")
            to, come = piece.places(loops)
            at = n.var, h.var
            store = Store(between, (*at, to, c.var), x[(*at, come, c.var)])
            site.nests.add(f"columns{number}", [n, h, *loops, c], store)
    source, w = (between if along else x), LoopAxis("w", y.shape[2])
    for number, piece in enumerate(pieces(rows) if down else ()):
        loops = piece.axes("h")
        to, come = piece.places(loops)
        store = Store(y, (n.var, to, w.var, c.var), source[n.var, come, w.var, c.var])
        site.nests.add(f"rows{number}", [n, *loops, w, c], store)
    return site.kernel("move", alias=False)


SPECS = (
    Spec(
        "upsample_nearest2d",
        aten=(Aten(("upsample_nearest1d", "upsample_nearest2d"), aten_upsample, whole=True),),
        meaning=upsample_nearest2d,
        quantize=move_values,
        integer=Integer(
            "upsample_nearest2d", ("u8",), evaluate, shape_of, lower, reads=reads, moves=always
        ),
        moves=True,
    ),
)
