"""How activations lie in memory: images as NHWC, channels and columns padded to whole vectors.

    physical((1, 29, 37, 53)) == (1, 37, 56, 32)        (N, H, Wp, Cp)

A tensor of rank 4 is an image (N, C, H, W). Of any other rank, the last axis is C, the one before
it W, the product of the rest H, and N is 1. Cp is 4, 32, 64 or a multiple of 128, of rank 4 also 8
or 16 where rows get shorter by that; Wp is the least that makes a row of Wp * Cp bytes a multiple
of 128 (``tir/places``: whole vectors of any machine), and even if it is more than one. The bytes in
the pads mean nothing.

A tensor that the model takes or gives may be stored in the form of another shape of its elements,
as ``graph/borders.py`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod

import numpy as np

from ..tir.expr import Expr, const
from ..tir.places import ALIGN
from ..tir.types import i32
from .graph import Array

Shape = tuple[int, ...]
Image = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """One logical axis: its name as a loop, its place in the shape, its logical and stored size."""

    name: str
    dim: int
    extent: int
    stored: int


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def as_image(shape: Shape) -> Image:
    """(N, C, H, W) of the image as which a tensor of any rank is stored."""
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    rows = shape[-2] if len(shape) > 1 else 1
    return 1, shape[-1] if shape else 1, prod(shape[:-2]), rows


def physical(shape: Shape) -> Image:
    """(N, H, Wp, Cp) of a logical shape."""
    images, channels, height, width = as_image(shape)
    deep = next((c for c in (4, 32, 64) if channels <= c), round_up(channels, ALIGN))
    row = _stored_row(width, deep)
    shorter = (form for form in (8, 16) if len(shape) == 4 and channels <= form < deep)
    return next(((images, height, *pixels) for form in shorter
                 if prod(pixels := _stored_row(width, form)) < prod(row)),
                (images, height, *row))  # fmt: skip


def _stored_row(width: int, deep: int) -> tuple[int, int]:
    """(Wp, Cp) of a row of ``width`` pixels with ``deep`` stored channels."""
    return round_up(width, max(ALIGN // gcd(deep, ALIGN), 1 + (width > 1))), deep


def meant(shape: Shape) -> Image:
    """How many of the stored (N, H, Wp, Cp) mean something."""
    images, channels, height, width = as_image(shape)
    return images, height, width, channels


def pack(array: Array, shape: Shape, pad: int = 0) -> Array:
    """The stored form of ``array``; its pads hold ``pad``."""
    images, channels, height, width = as_image(shape)
    stored = np.full(physical(shape), pad, array.dtype)
    if len(shape) == 4:
        image = array.reshape(shape).transpose(0, 2, 3, 1)
    else:
        image = array.reshape(images, height, width, channels)
    stored[:, :, :width, :channels] = image
    return stored


def unpack(stored: Array, shape: Shape) -> Array:
    """The tensor of shape ``shape`` that ``stored`` holds."""
    _, channels, _, width = as_image(shape)
    image = stored.reshape(physical(shape))[:, :, :width, :channels]
    if len(shape) == 4:
        image = image.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(image).reshape(shape)


def axes(shape: Shape) -> list[Stored]:
    """The logical axes in the order in which they lie in memory, the innermost last."""
    rank = len(shape)
    if rank == 4:
        dims, names = [0, 2, 3, 1], ["n", "h", "w", "c"]
    else:
        heads = ["h"] if rank == 3 else [f"h{i}" for i in range(rank - 2)]
        dims, names = list(range(rank)), [*heads, "w", "c"][-rank:] if rank else []
    sizes = dict(zip(dims[-2:], physical(shape)[-2:][-len(dims) :], strict=True)) if dims else {}
    return [
        Stored(name, dim, shape[dim], sizes.get(dim, shape[dim]))
        for name, dim in zip(names, dims, strict=True)
    ]


def place_of(shape: Shape, index: Sequence[Expr]) -> tuple[Expr, ...]:
    """The stored index (n, h, w, c) of a logical index."""
    if len(shape) == 4:
        return index[0], index[2], index[3], index[1]
    zero = const(0, i32)
    channel = index[-1] if index else zero
    row = index[-2] if len(index) > 1 else zero
    return zero, flat(shape[:-2], index[:-2]), row, channel


def flat(shape: Shape, index: Sequence[Expr]) -> Expr:
    """The row-major number of a logical index."""
    number, stride = const(0, i32), prod(shape)
    for extent, part in zip(shape, index, strict=True):
        stride //= extent
        term = part if stride == 1 else part * stride
        if not (part.is_const and not part.attr):
            number = term if number.is_const and not number.attr else number + term
    return number
