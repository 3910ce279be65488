"""Observers: the range of a stream of arrays, in bounded memory.

>>> watch = MinMax()
>>> watch.add(np.array([1.0, -2.0]))
>>> watch.range()
(-2.0, 1.0)
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from ..graph.graph import Array
from .errors import CalibrationError

Range = tuple[float, float]


def union(*ranges: Range) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def width(limits: Range) -> float:
    """The length that an affine map of the range covers: every map covers zero, too."""
    return max(limits[1], 0.0) - min(limits[0], 0.0)


def within(inner: Range, outer: Range) -> bool:
    """Every map that covers ``outer`` covers ``inner``."""
    return min(outer[0], 0.0) <= inner[0] and inner[1] <= max(outer[1], 0.0)


class Observer(Protocol):
    """Sees finite arrays one after the other and gives the range that a u8 tensor shall cover."""

    def add(self, array: Array) -> None: ...

    def range(self) -> Range: ...


class MinMax:
    """From the smallest value to the largest."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf

    def add(self, array: Array) -> None:
        if array.size:
            self.low = min(self.low, float(array.min()))
            self.high = max(self.high, float(array.max()))

    def range(self) -> Range:
        return (self.low, self.high) if self.low <= self.high else (0.0, 0.0)


class Percentile:
    """The middle ``percent`` of all values, from a histogram whose reach doubles when needed.

    The bins span [-reach, reach] with ``reach`` a power of two; growing merges pairs of bins,
    so the counts do not depend on how the stream was cut.
    """

    BINS = 1 << 14

    def __init__(self, percent: float = 99.99) -> None:
        self.tail = (1 - percent / 100) / 2
        self.reach = 0.0
        self.counts = np.zeros(self.BINS, np.int64)
        self.exact = MinMax()

    def add(self, array: Array) -> None:
        self.exact.add(array)
        low, high = self.exact.range()
        self._grow(max(-low, high))
        if self.reach:
            places = (array.ravel().astype(np.float64) / self.reach + 1) * (self.BINS / 2)
            bins = np.minimum(places.astype(np.int64), self.BINS - 1)
            self.counts += np.bincount(bins, minlength=self.BINS)

    def range(self) -> Range:
        low, high = self.exact.range()
        total = int(self.counts.sum())
        if not total:
            return low, high
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, self.tail * total, side="right"))
        last = int(np.searchsorted(below, (1 - self.tail) * total, side="left"))
        width = 2 * self.reach / self.BINS
        edges = first * width - self.reach, (last + 1) * width - self.reach
        return max(low, edges[0]), min(high, edges[1])

    def _grow(self, magnitude: float) -> None:
        if magnitude <= self.reach:
            return
        wanted = math.ldexp(1.0, math.frexp(magnitude)[1])
        while 0 < self.reach < wanted and self.counts.any():
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            quarter = self.BINS // 4
            self.counts = np.pad(merged, (quarter, quarter))
            self.reach *= 2
        self.reach = max(self.reach, wanted)


OBSERVERS: dict[str, type[MinMax] | type[Percentile]] = {
    "minmax": MinMax,
    "percentile": Percentile,
}


def observer_of(name: str) -> Observer:
    """A new observer of the named kind."""
    if not isinstance(name, str) or name not in OBSERVERS:
        known = ", ".join(OBSERVERS)
        raise CalibrationError(f"observer: must be one of {known}, but got {name!r}")
    return OBSERVERS[name]()
