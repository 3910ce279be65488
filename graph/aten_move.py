"""Lowerings of the ATen operators that only move data; those that change nothing disappear.

chunk(x, 2, dim=1)    ->    slice(x) axis=1 start=0 stop=4 step=1; slice(x) axis=1 start=4 ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .aten import axis_of, lowers
from .build import Builder, Shape, Unsupported, Value


@lowers("clone", "alias", "detach", "contiguous", "dropout", "lift_fresh_copy", "_to_copy", "to")
def same(b: Builder, self: Value = None, **arguments: Any) -> Value:
    """The tensor itself: the importer checks types, and a graph has no memory formats."""
    return arguments.get("input") if self is None else self


@lowers("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten")
def reshape(b: Builder, self: Value, **_: object) -> Value:
    return b.reshape(self, b.result)


@lowers("permute")
def permute(b: Builder, self: Value, dims: Sequence[int]) -> Value:
    axes = tuple(axis_of(b, self, d) for d in dims)
    return self if axes == tuple(range(len(axes))) else b.emit("permute", self, axes=axes)


@lowers("transpose.int")
def transpose(b: Builder, self: Value, dim0: int, dim1: int) -> Value:
    axes = list(range(len(b.shape(self))))
    first, second = axis_of(b, self, dim0), axis_of(b, self, dim1)
    axes[first], axes[second] = second, first
    return permute(b, self, axes)


@lowers("t")
def t(b: Builder, self: Value) -> Value:
    return permute(b, self, list(reversed(range(len(b.shape(self))))))


@lowers("expand")
def expand(b: Builder, self: Value, **_: object) -> Value:
    return self if b.shape(self) == b.result else b.emit("expand", self, shape=b.result)


@lowers("cat")
def cat(b: Builder, tensors: Sequence[Value], dim: int) -> Value:
    parts = [x for x in tensors if b.shape(x) != (0,)]  # PyTorch's legacy empty tensor
    return parts[0] if len(parts) == 1 else b.emit("cat", *parts, axis=axis_of(b, parts[0], dim))


@lowers("pad", "constant_pad_nd")
def pad(
    b: Builder, self: Value, pad: Sequence[int], value: float | None = None, mode: str = "constant"
) -> Value:
    """A negative amount cuts."""
    if mode != "constant":
        raise Unsupported(f"mode {mode}")
    rank = len(b.shape(self))
    pads = [(0, 0)] * rank
    for i in range(len(pad) // 2):
        pads[rank - 1 - i] = (pad[2 * i], pad[2 * i + 1])
    for axis, (before, after) in enumerate(pads):
        if min(before, after) < 0:
            extent = b.shape(self)[axis]
            self = cut(b, self, axis, max(-before, 0), extent + min(after, 0))
    grown = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, grown)):
        return self
    return b.emit("pad", self, pads=grown, value=float(value or 0.0))


def cut(b: Builder, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """A slice; ``x`` itself where the slice is all of it."""
    if (start, stop, step) == (0, b.shape(x)[axis], 1):
        return x
    if start >= stop:
        raise Unsupported("of an empty tensor")
    return b.emit("slice", x, axis=axis, start=start, stop=stop, step=step)


@lowers("slice.Tensor")
def slice_(
    b: Builder, self: Value, dim: int, start: int | None, end: int | None, step: int
) -> Value:
    axis = axis_of(b, self, dim)
    first, last, step = slice(start, end, step).indices(b.shape(self)[axis])
    return cut(b, self, axis, first, last, step)


@lowers("select.int")
def select(b: Builder, self: Value, dim: int, index: int) -> Value:
    axis = axis_of(b, self, dim)
    index %= b.shape(self)[axis]
    return b.reshape(cut(b, self, axis, index, index + 1), b.result)


@lowers("split_with_sizes")
def split_with_sizes(b: Builder, self: Value, split_sizes: Sequence[int], dim: int) -> Value:
    axis, start, parts = axis_of(b, self, dim), 0, []
    for size in split_sizes:
        parts.append(cut(b, self, axis, start, start + size))
        start += size
    return tuple(parts)


@lowers("split.Tensor")
def split(b: Builder, self: Value, split_size: int, dim: int) -> Value:
    extent = b.shape(self)[axis_of(b, self, dim)]
    sizes = [min(split_size, extent - at) for at in range(0, extent, split_size)]
    return split_with_sizes(b, self, sizes, dim)


@lowers("unbind.int")
def unbind(b: Builder, self: Value, dim: int) -> Value:
    axis, shape = axis_of(b, self, dim), b.shape(self)
    left: Shape = shape[:axis] + shape[axis + 1 :]
    parts = [cut(b, self, axis, i, i + 1) for i in range(shape[axis])]
    return tuple(b.reshape(part, left) for part in parts)
