"""The adaptive pools: runs of equal windows, along rows and then along columns.

Window i of n over an extent reads from floor(i * extent / n) to ceil((i + 1) * extent / n). Where
all windows along both axes are equally long and equally far apart, that is one pool:

    adaptive_avg_pool2d(x [24, 19], (2, 2))  ->  avg_pool2d(x) kernel=(12, 10) stride=(12, 9)

Else each axis has its own pools, one a run of equal windows, whose results are joined; an axis of
many runs has a product with a matrix of the windows' shares instead.

    48 -> 7:  [0, 7) kernel 7;  [6, 42) kernel 8 stride 7;  [41, 48) kernel 7
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from ..aten import Numbers, Pair, cut, image, spatial
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value

Pool: TypeAlias = "Callable[[GraphBuilder, Value, Pair, Pair], Value]"
MANY = 16


@dataclass(frozen=True, slots=True)
class WindowRun:
    """Windows of ``kernel`` elements, ``stride`` apart, that read from ``start`` to ``stop``."""

    start: int
    stop: int
    kernel: int
    stride: int


def windows(extent: int, count: int) -> list[Pair]:
    """Where each window starts and stops."""
    return [(extent * i // count, -(-extent * (i + 1) // count)) for i in range(count)]


def runs(extent: int, count: int) -> list[WindowRun]:
    """The windows along one axis in as few runs as their order allows."""
    found: list[WindowRun] = []
    for start, stop in windows(extent, count):
        last = found[-1] if found else None
        if last is None or last.kernel != stop - start:
            found.append(WindowRun(start, stop, stop - start, 0))
        elif stop > last.stop and last.stride in (0, stop - last.stop):
            found[-1] = replace(last, stop=stop, stride=stop - last.stop)
        else:
            found.append(WindowRun(start, stop, stop - start, 0))
    return [replace(run, stride=run.stride or run.kernel) for run in found]


def _average(b: GraphBuilder, x: Value, kernel: Pair, stride: Pair) -> Value:
    return b.emit("avg_pool2d", x, kernel=kernel, stride=stride, padding=((0, 0), (0, 0)),
                  count_include_pad=True, divisor=None)  # fmt: skip


def _largest(b: GraphBuilder, x: Value, kernel: Pair, stride: Pair) -> Value:
    return b.emit("max_pool2d", x, kernel=kernel, stride=stride, padding=((0, 0), (0, 0)),
                  dilation=(1, 1))  # fmt: skip


def _adaptive(b: GraphBuilder, x: Value, size: Numbers, flat: bool, pool: Pool) -> Value:
    x, wanted = image(b, x, flat), spatial(size, 1, flat)
    rows, columns = (runs(*of) for of in zip(b.shape(x)[2:], wanted, strict=True))
    if len(rows) == len(columns) == 1:
        kernel, stride = zip(*((run.kernel, run.stride) for run in (*rows, *columns)), strict=True)
        return b.reshape(x if kernel == (1, 1) else pool(b, x, kernel, stride), b.result)
    for axis, found in enumerate((rows, columns)):
        x = _along(b, x, axis, found, wanted[axis], pool)
    return b.reshape(x, b.result)


def _along(
    b: GraphBuilder, x: Value, axis: int, found: Sequence[WindowRun], count: int, pool: Pool
) -> Value:
    """The pool of one axis."""
    if b.shape(x)[2 + axis] == count:
        return x
    if len(found) > MANY and pool is _average:
        return _product(b, x, axis, count)
    parts = []
    for run in found:
        part = cut(b, x, 2 + axis, run.start, run.stop)
        kernel, stride = ((n, 1) if axis == 0 else (1, n) for n in (run.kernel, run.stride))
        parts.append(part if run.kernel == 1 else pool(b, part, kernel, stride))
    return parts[0] if len(parts) == 1 else b.emit("cat", *parts, axis=2 + axis)


def _product(b: GraphBuilder, x: Value, axis: int, count: int) -> Value:
    """The axis last and the other three as rows, times the share of each element in each window."""
    import torch

    order = (0, 1, 3, 2) if axis == 0 else (0, 1, 2, 3)
    turned = b.emit("permute", x, axes=order) if axis == 0 else x
    *rest, extent = b.shape(turned)
    shares = torch.zeros(count, extent)
    for place, (start, stop) in enumerate(windows(extent, count)):
        shares[place, start:stop] = 1 / (stop - start)
    rows = b.reshape(turned, (rest[0] * rest[1] * rest[2], extent))
    y = b.reshape(b.emit("linear", rows, shares), (*rest, count))
    return b.emit("permute", y, axes=order) if axis == 0 else y


def aten_adaptive_avg_pool(b: GraphBuilder, self: Value, output_size: Numbers) -> Value:
    return _adaptive(b, self, output_size, False, _average)


def aten_adaptive_avg_pool1d(b: GraphBuilder, self: Value, output_size: Numbers) -> Value:
    return _adaptive(b, self, output_size, True, _average)


def aten_adaptive_max_pool(b: GraphBuilder, self: Value, output_size: Numbers) -> Value:
    """The indices are None: whoever reads them is refused."""
    return (_adaptive(b, self, output_size, False, _largest), None)


def aten_adaptive_max_pool1d(b: GraphBuilder, self: Value, output_size: Numbers) -> Value:
    return (_adaptive(b, self, output_size, True, _largest), None)


SPECS = (
    Spec(
        "adaptive_pool",
        aten=(
            Aten(("adaptive_avg_pool2d",), aten_adaptive_avg_pool, whole=True),
            Aten(("_adaptive_avg_pool2d",), aten_adaptive_avg_pool),
            Aten(("adaptive_avg_pool1d",), aten_adaptive_avg_pool1d, whole=True),
            Aten(("adaptive_max_pool2d",), aten_adaptive_max_pool, whole=True),
            Aten(("adaptive_max_pool1d",), aten_adaptive_max_pool1d, whole=True),
        ),
    ),
)
