"""A move between stored images as one nest of loops: no index but sums of loop variables.

    copied(Move((14, 14, 128), (14, 1, 196)), (1, 128, 14, 14), (1, 196, 128))
        ->  y[0, 0, 14 * w0 + w1, c] = x[0, w0, w1, c]

A loop is a digit of one axis of the output, in the order in which the output lies in memory, and as
long as possible: an axis is in several digits only where the input needs that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

from ..tir.places import ALIGN
from .attributes import Shape
from .moves import Move, Term, dot, follow, weights_of
from .physical import as_image, physical

STORED = "nhwc"  # the axes of an image as they lie in memory


@dataclass(frozen=True, slots=True)
class MapLoop:
    """One loop: the axis of the output, and what a step is along it and along the input's axes."""

    axis: str
    extent: int
    to: int
    come: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Copying:
    """The loops of a move, outermost first, and the input's index where they are all 0."""

    shape: Shape
    out_shape: Shape
    digits: tuple[MapLoop, ...]
    start: tuple[int, int, int, int]

    @property
    def steps(self) -> list[tuple[int, int, int]]:
        """For each loop: its extent, and the bytes between its steps in the output and input."""
        to = dict(zip(STORED, weights_of(physical(self.out_shape)), strict=True))
        come = weights_of(physical(self.shape))
        return [(d.extent, d.to * to[d.axis], dot(d.come, come)) for d in self.digits]

    @property
    def view(self) -> int | None:
        """The byte of the stored input at which the stored output lies; None where bytes move."""
        size, out_size = prod(physical(self.shape)), prod(physical(self.out_shape))
        weights = weights_of(physical(self.shape))
        start = dot(self.start, weights)
        inside = start % ALIGN == 0 and start + out_size <= size
        return start if inside and all(to == come for _, to, come in self.steps) else None

    @property
    def run(self) -> int:
        """Bytes that lie together on both sides."""
        run = 1
        for extent, to, come in reversed(self.steps):
            if to == come == run:
                run *= extent
        return run


@cache
def copied(move: Move, shape: Shape, out_shape: Shape) -> Copying | None:
    """The loops of ``move``; None where the axes cut across each other."""
    names, extents = _axes(out_shape)
    weights = weights_of(extents)
    whole = [Term(n, w, w) for n, w in zip(extents, weights, strict=True) if n > 1]
    axis_of = {w: name for name, n, w in zip(names, extents, weights, strict=True) if n > 1}
    found = follow(whole, 0, move.extents)
    if found is None:
        return None
    terms = [
        Term(term.extent, term.to, dot(steps, move.strides))
        for term, steps in zip(found.terms, found.steps, strict=True)
    ]
    own, sizes = _axes(shape)
    found = follow(terms, move.offset, sizes)
    if found is None:
        return None
    digits = []
    for term, steps in zip(found.terms, found.steps, strict=True):
        weight = max(w for w in axis_of if w <= term.to)
        digits.append(MapLoop(axis_of[weight], term.extent, term.to // weight, _image(own, steps)))
    digits.sort(key=lambda d: (STORED.index(d.axis), -d.to))
    return Copying(shape, out_shape, tuple(digits), _image(own, found.start))


def _axes(shape: Shape) -> tuple[str, tuple[int, ...]]:
    """The axes of the image in the logical order, with their extents."""
    images, channels, height, width = as_image(shape)
    if len(shape) == 4:
        return "nchw", (images, channels, height, width)
    return "hwc", (height, width, channels)


def _image(names: str, steps: Sequence[int]) -> tuple[int, int, int, int]:
    along = dict(zip(names, steps, strict=True))
    n, h, w, c = (along.get(name, 0) for name in STORED)
    return n, h, w, c
