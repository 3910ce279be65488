"""Most of the values that were seen: what is rare and far out saturates."""

from __future__ import annotations

import math

import numpy as np

from ...graph.graph import Array
from ..observe import OBSERVERS, Range
from .minmax import MinMax


@OBSERVERS.row("percentile", "the middle 99.99 % of them")
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
