"""Readers of the ATen pools: ceil mode and 1-d windows become explicit padding.

max_pool2d(x, 3, 2, 1, ceil_mode=True)    ->    max_pool2d(x) padding=((1, 2), (1, 2))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aten import Numbers, Pair, image, spatial

if TYPE_CHECKING:
    from .graph_builder import GraphBuilder, Value


def overhang(extent: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """How far the last window reaches beyond the extent and its padding; 0 without ceil mode.

    PyTorch drops a last window that would start in the padding after the end.
    """
    if not ceil_mode:
        return 0
    count = -(-(extent + 2 * padding - kernel) // stride) + 1
    if (count - 1) * stride >= extent + padding:
        count -= 1
    return max(0, (count - 1) * stride + kernel - (extent + 2 * padding))


def pool(
    b: GraphBuilder, x: Value, size: Numbers, stride: Numbers, padding: Numbers, flat: bool
) -> tuple[Value, Pair, Pair, Pair]:
    """The image, kernel, stride and padding of a 1-d or 2-d pool."""
    kernel = spatial(size, 1, flat)
    steps = spatial(stride, 1, flat) if stride or stride == 0 else kernel
    return image(b, x, flat), kernel, steps, spatial(padding, 0, flat)
