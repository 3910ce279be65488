"""Convolutions and pools of volumes, as those of images: a plane of the result is an image.

conv3d(x (n, c, d, h, w))       conv2d of planes, whose channels are those of all planes of a window
max_pool3d, avg_pool3d          pools of each plane, then of columns of planes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..aten import Pair, cut, known
from ..aten_pool import overhang
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value

Ways = Sequence[int]
NO_PADS = (0, 0), (0, 0)


def _three(numbers: int | Ways) -> tuple[int, ...]:
    found = [numbers] if isinstance(numbers, int) else list(numbers)
    return tuple(found * 3 if len(found) == 1 else found)


def aten_conv3d(
    b: GraphBuilder,
    input: Value,
    weight: Value,
    bias: Value,
    stride: Ways,
    padding: Ways | str,
    dilation: Ways,
    groups: int,
) -> Value:
    kernel, numbers = known(weight, "a weight"), known(bias, "a bias")
    outputs, channels, depth, *window = kernel.shape
    steps, apart = _three(stride), _three(dilation)
    pads = _pads(padding, kernel.shape[2:], apart)
    shape = (1,) * (5 - len(b.shape(input))) + b.shape(input)
    x = b.emit("permute", b.reshape(input, shape), axes=(0, 2, 1, 3, 4))
    if any(pads[0]):
        x = b.emit("pad", x, pads=((0, 0), pads[0], (0, 0), (0, 0), (0, 0)), value=0.0)
    images, planes, height, width = shape[0], b.shape(x)[1], *shape[3:]
    count = (planes - apart[0] * (depth - 1) - 1) // steps[0] + 1
    parts = []
    for tap in range(depth):
        first = tap * apart[0]
        plane = cut(b, x, 1, first, first + (count - 1) * steps[0] + 1, steps[0])
        parts.append(b.reshape(plane, (images * count, groups, channels, height, width)))
    whole = parts[0] if depth == 1 else b.emit("cat", *parts, axis=2)
    flat = b.reshape(whole, (images * count, groups * depth * channels, height, width))
    planar = kernel.permute(0, 2, 1, 3, 4).reshape(outputs, depth * channels, *window)
    y = b.emit(
        "conv2d",
        flat,
        b.label(planar.contiguous(), f"{b.label_of(kernel)}.planes"),
        *([] if numbers is None else [numbers]),
        stride=steps[1:],
        padding=pads[1:],
        dilation=apart[1:],
        groups=groups,
    )
    apart_again = b.reshape(y, (images, count, outputs, *b.shape(y)[2:]))
    return b.reshape(b.emit("permute", apart_again, axes=(0, 2, 1, 3, 4)), b.result)


def _pads(padding: Ways | str, window: Ways, apart: Ways) -> tuple[Pair, ...]:
    if not isinstance(padding, str):
        return tuple((p, p) for p in _three(padding))
    total = [d * (k - 1) * (padding == "same") for d, k in zip(apart, window, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


Pool = Callable[..., "Value"]


def _pooled(b: GraphBuilder, x: Value, kernel: Ways, stride: Ways, pads: Ways, pool: Pool) -> Value:
    """Each plane, then columns of planes; ``pool(x, kernel, stride, padding)`` pools images."""
    *heads, planes, height, width = b.shape(x)
    rows = 1
    for extent in heads:
        rows *= extent
    flat = b.reshape(x, (1, rows * planes, height, width))
    inner = pool(flat, kernel[1:], stride[1:], tuple((p, p) for p in pads[1:]))
    *_, height, width = b.shape(inner)
    columns = b.reshape(inner, (1, rows, planes, height * width))
    made = pool(columns, (kernel[0], 1), (stride[0], 1), ((pads[0], pads[0]), (0, 0)))
    return b.reshape(made, b.result)


def _sizes(
    b: GraphBuilder, x: Value, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    kernel, pads, apart = _three(size), _three(padding), _three(dilation)
    steps = _three(stride) if stride or stride == 0 else kernel
    extents = b.shape(x)[-3:]
    over = [
        overhang(n, d * (k - 1) + 1, s, p, ceil)
        for n, k, s, p, d in zip(extents, kernel, steps, pads, apart, strict=True)
    ]
    if any(over):
        raise Unsupported("with windows that reach beyond the padding")
    return kernel, steps, pads


def aten_max_pool3d(
    b: GraphBuilder,
    self: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Value:
    sizes = _sizes(b, self, kernel_size, stride, padding, dilation, ceil_mode)
    apart = _three(dilation)
    if len({*apart}) > 1:
        raise Unsupported("with dilations that differ")

    def pool(x: Value, kernel: Ways, steps: Ways, pads: Any) -> Value:
        return b.emit("max_pool2d", x, kernel=kernel, stride=steps, padding=pads,
                      dilation=apart[:2])  # fmt: skip

    return _pooled(b, self, *sizes, pool)


def aten_max_pool3d_indices(b: GraphBuilder, **arguments: Any) -> Value:
    """The indices are None: whoever reads them is refused."""
    return aten_max_pool3d(b, **arguments), None


def aten_avg_pool3d(
    b: GraphBuilder,
    self: Value,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Value:
    """A mean of means; padding counts along each axis as it does in all."""
    if divisor_override is not None:
        raise Unsupported("with a divisor of its own")

    def pool(x: Value, kernel: Ways, steps: Ways, pads: Any) -> Value:
        return b.emit("avg_pool2d", x, kernel=kernel, stride=steps, padding=pads,
                      count_include_pad=count_include_pad, divisor=None)  # fmt: skip

    sizes = _sizes(b, self, kernel_size, stride, padding, 1, ceil_mode)
    return _pooled(b, self, *sizes, pool)


SPECS = (
    Spec(
        "volumes",
        aten=(
            Aten(("conv3d",), aten_conv3d, whole=True),
            Aten(("max_pool3d",), aten_max_pool3d, whole=True),
            Aten(("max_pool3d_with_indices",), aten_max_pool3d_indices, public="max_pool3d"),
            Aten(("avg_pool3d",), aten_avg_pool3d, whole=True),
        ),
    ),
)
