"""Observers: the range of a stream of arrays, in bounded memory; ``observers/`` has them.

    watch = OBSERVERS["minmax"]()
    watch.add(array)
    watch.range()

Each enters by a row, ``@OBSERVERS.row("minmax", "from the smallest to the largest")``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..graph.graph import Array
from ..options.registry import Registry

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


OBSERVERS = Registry[Callable[[], Observer]]()
