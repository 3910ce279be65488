"""max_pool2d; a 1-d pool is one of images of height 1.

max_pool2d(x u8 [N,C,H,W]) kernel stride padding dilation: padding never wins
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import const, maximum
from ...tir.types import u8
from ..aten import Numbers, Pair, spatial
from ..aten_pool import overhang, pool
from ..attributes import Pads, Shape, pads, pair, require, window_shape
from ..emitting import move_values
from ..exact import windows
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_pool import pool2d
from ..lower_site import Site
from ..meanings import padded
from ..slides import reads_windows
from ..spec import Aten, Integer, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_max_pool(
    b: GraphBuilder,
    self: Value,
    kernel_size: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
    flat: bool = False,
) -> Value:
    x, kernel, steps, pads = pool(b, self, kernel_size, stride, padding, flat)
    apart = spatial(dilation, 1, flat)
    over = [
        overhang(extent, d * (k - 1) + 1, s, p, ceil_mode)
        for extent, k, s, p, d in zip(b.shape(x)[2:], kernel, steps, pads, apart, strict=True)
    ]
    padded = tuple((p, p + more) for p, more in zip(pads, over, strict=True))
    y = b.emit("max_pool2d", x, kernel=kernel, stride=steps, padding=padded, dilation=apart)
    return b.reshape(y, b.result)


def aten_max_pool1d(b: GraphBuilder, **arguments: Any) -> Value:
    return aten_max_pool(b, **arguments, flat=True)


def aten_max_pool_indices(b: GraphBuilder, **arguments: Any) -> Value:
    """The indices are None: whoever reads them is refused."""
    return (aten_max_pool(b, **arguments), None)


def max_pool2d(
    torch: Any, x: Tensor, *, kernel: Pair, stride: Pair, padding: Pads, dilation: Pair
) -> Any:
    """The maximum of each window; padding never wins."""
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right) or 2 * top > kernel[0] or 2 * left > kernel[1]:
        x, top, left = padded(torch, x, padding, float("-inf")), 0, 0
    return torch.nn.functional.max_pool2d(x, kernel, stride, (top, left), dilation)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    # No u8 is below 0, so padding with 0 never wins.
    image = np.pad(inputs[0], ((0, 0), (0, 0), *pads(node)))
    view = windows(image, pair(node, "kernel"), pair(node, "stride"), pair(node, "dilation"))
    best = np.zeros(view.shape[:4], np.uint8)
    for i, j in np.ndindex(*view.shape[4:]):
        np.maximum(best, view[..., i, j], out=best)
    return best


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(len(shapes[0]) == 4, node, "the input has four axes", shapes[0])
    size = window_shape(node, shapes[0][2:], pair(node, "kernel"), pair(node, "dilation"))
    return (*shapes[0][:2], *size)


def lower(site: Site) -> Kernel:
    least = const(0, u8)
    return pool2d(site, "max", u8, least, lambda acc, x: maximum(acc, x), least)


SPECS = (
    Spec(
        "max_pool2d",
        aten=(
            Aten(("max_pool2d",), aten_max_pool, whole=True),
            Aten(("max_pool1d",), aten_max_pool1d, whole=True),
            Aten(("max_pool2d_with_indices",), aten_max_pool_indices, public="max_pool2d"),
        ),
        meaning=max_pool2d,
        quantize=move_values,
        integer=Integer(
            "max_pool2d",
            ("u8",),
            evaluate,
            shape_of,
            lower,
            reads=reads_windows,
            moves=lambda node: pair(node, "kernel") == (1, 1),
        ),
        moves=True,
        selects=True,
    ),
)
