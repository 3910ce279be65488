"""Fixed arrays for checks of kernels, and how two arrays differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.graph import Array

_BYTE = np.dtype(np.uint8)


def differing(got: Array, wanted: Array) -> str:
    """How many elements of two arrays differ, and the first of them; "" if none does."""
    where = np.argwhere(got != wanted)
    if not len(where):
        return ""
    first = tuple(int(i) for i in where[0])
    return (
        f"{len(where)} of {wanted.size} bytes differ, the first at {first}: "
        f"{int(got[first])} instead of {int(wanted[first])}"
    )


def fixed_input(
    rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[Any] = _BYTE
) -> Array:
    """Random numbers with runs of both extremes; of wide integers, of all magnitudes."""
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind == "f":
        return rng.normal(0, 8, shape).astype(kind)
    limits = np.iinfo(kind)
    data = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    if kind.itemsize > 1:
        data >>= rng.integers(0, limits.bits, shape).astype(kind)
    mask = rng.random(shape)
    data[mask < 0.05] = limits.min
    data[mask > 0.95] = limits.max
    return data
