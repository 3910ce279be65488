"""All values that were seen.

>>> watch = MinMax()
>>> watch.add(np.array([1.0, -2.0]))
>>> watch.range()
(-2.0, 1.0)
"""

from __future__ import annotations

import math

from ...graph.graph import Array
from ..observe import OBSERVERS, Range


@OBSERVERS.row("minmax", "from the smallest to the largest")
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
