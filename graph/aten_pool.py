"""Lowerings of the ATen pools: ceil mode and 1-d windows become explicit padding.

max_pool2d(x, 3, 2, 1, ceil_mode=True)    ->    max_pool2d(x) padding=((1, 2), (1, 2))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .aten import Pair, image, lowers, spatial
from .build import Builder, Value

Numbers = int | Sequence[int]


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
    b: Builder, x: Value, size: Numbers, stride: Numbers, padding: Numbers, flat: bool
) -> tuple[Value, Pair, Pair, Pair]:
    """The image, kernel, stride and padding of a 1-d or 2-d pool."""
    kernel = spatial(size, 1, flat)
    steps = spatial(stride, 1, flat) if stride or stride == 0 else kernel
    return image(b, x, flat), kernel, steps, spatial(padding, 0, flat)


@lowers("max_pool2d")
def max_pool(
    b: Builder,
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


@lowers("max_pool1d")
def max_pool1d(b: Builder, **arguments: Any) -> Value:
    return max_pool(b, **arguments, flat=True)


@lowers("max_pool2d_with_indices")
def max_pool_indices(b: Builder, **arguments: Any) -> Value:
    """The indices are None: whoever reads them is refused."""
    return (max_pool(b, **arguments), None)


@lowers("avg_pool2d")
def avg_pool(
    b: Builder,
    self: Value,
    kernel_size: Numbers,
    stride: Numbers,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
    flat: bool = False,
) -> Value:
    """Padding counts where asked for, the overhang of ceil mode never."""
    x, kernel, steps, pads = pool(b, self, kernel_size, stride, padding, flat)
    over = [
        overhang(extent, k, s, p, ceil_mode)
        for extent, k, s, p in zip(b.shape(x)[2:], kernel, steps, pads, strict=True)
    ]
    counted = count_include_pad or not any(pads)
    if any(over) and counted and divisor_override is None:
        if any(pads):
            x = b.emit("pad", x, pads=((0, 0), (0, 0), *((p, p) for p in pads)), value=0.0)
        pads, counted = (0, 0), False
    y = b.emit(
        "avg_pool2d",
        x,
        kernel=kernel,
        stride=steps,
        padding=tuple((p, p + more) for p, more in zip(pads, over, strict=True)),
        count_include_pad=counted,
        divisor=abs(divisor_override) if divisor_override else None,
    )
    negative = divisor_override is not None and divisor_override < 0
    return b.reshape(b.emit("neg", y) if negative else y, b.result)


@lowers("avg_pool1d")
def avg_pool1d(b: Builder, **arguments: Any) -> Value:
    return avg_pool(b, **arguments, flat=True)
