"""What a chain of moves does, as one affine map: which element of the input each of the output is.

    reshape (1, 4, 6) -> (4, 6), then permute to (6, 4)
        ->  Move(extents=(6, 4), strides=(1, 6), offset=0)

The row-major number of an output's element is written in digits of the radix ``extents``, the
outermost first; the input's element has the number ``offset`` + the sum of digit * stride. All
reshapes, permutes, slices and expands are such maps, and so is what they compose to, as long as no
digit of one carries into a digit of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from .graph import Array


@dataclass(frozen=True, slots=True)
class Move:
    """No extent is 1, and no two neighbours could be one digit: equal maps are equal."""

    extents: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def is_reshape(self) -> bool:
        """Whether every element keeps its number, and none is left out behind the last one."""
        return self.offset == 0 and self.strides in ((), (1,))

    @property
    def size(self) -> int:
        """Elements of the output."""
        return prod(self.extents)

    @property
    def last(self) -> int:
        """The greatest number of an element that is read."""
        pairs = zip(self.extents, self.strides, strict=True)
        return self.offset + sum((extent - 1) * stride for extent, stride in pairs)

    @property
    def reads(self) -> int:
        """How many elements are read, each counted once."""
        pairs = zip(self.extents, self.strides, strict=True)
        return prod(extent for extent, stride in pairs if stride)

    def after(self, inner: Move) -> Move | None:
        """This move of what ``inner`` gives, as one; None where digits carry."""
        weights = weights_of(self.extents)
        terms = [Term(*term) for term in zip(self.extents, weights, self.strides, strict=True)]
        found = follow(terms, self.offset, inner.extents)
        if found is None:
            return None
        offset = inner.offset + dot(found.start, inner.strides)
        pairs = zip(found.terms, found.steps, strict=True)
        return merged(((term.extent, dot(steps, inner.strides)) for term, steps in pairs), offset)

    def apply(self, array: Array) -> Array:
        """The output's elements in their row-major order."""
        flat = np.ascontiguousarray(array).reshape(-1)[self.offset :]
        strides = [stride * flat.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat, self.extents, strides).reshape(-1)


def merged(digits: Iterable[tuple[int, int]], offset: int = 0) -> Move:
    """The map with as few digits (extent, stride) as possible."""
    found: list[tuple[int, int]] = []
    for extent, stride in digits:
        if extent == 1:
            continue
        if found and found[-1][1] == stride * extent:
            extent *= found.pop()[0]
        found.append((extent, stride))
    return Move(tuple(e for e, _ in found), tuple(s for _, s in found), offset)


def weights_of(extents: Sequence[int]) -> tuple[int, ...]:
    """What a step along each axis adds to the row-major number."""
    return tuple(prod(extents[place + 1 :]) for place in range(len(extents)))


def dot(some: Sequence[int], others: Sequence[int]) -> int:
    """The sum of products, as of steps and what they add."""
    return sum(a * b for a, b in zip(some, others, strict=True))


# Digits that follow others ----------------------------------------------------------------------


class Term(NamedTuple):
    """One digit: what a step of it adds to the output's number, and to the input's."""

    extent: int
    to: int
    come: int


class Followed(NamedTuple):
    """Digits split until each steps by a constant along every axis of the input: ``steps`` has
    them, ``start`` is the index at which all digits are 0."""

    terms: list[Term]
    steps: list[tuple[int, ...]]
    start: tuple[int, ...]


def follow(terms: Iterable[Term], offset: int, axes: Sequence[int]) -> Followed | None:
    """The index along ``axes`` that the numbers ``offset`` + sum of ``come`` have.

    A digit that runs over the end of an axis is split there, where the extents allow:

        64 steps of 3 over axes (16, 12)  ->  16 steps of (1, 0) and 4 steps of (0, 3)
    """
    weights = weights_of(axes)
    left, found, steps = list(terms)[::-1], [], []
    while left:
        term = left.pop()
        step = _index(term.come, weights, axes)
        if step is None:
            return None
        inside = _inside(term, step, axes)
        if 1 < inside < term.extent and term.extent % inside == 0:
            left.append(Term(inside, term.to, term.come))
            outer = term.extent // inside
            left.append(Term(outer, term.to * inside, term.come * inside))
            continue
        found.append(term)
        steps.append(step)
    start = _index(offset, weights, axes)
    if start is None:
        return None
    for axis, extent in enumerate(axes):
        reach = sum((term.extent - 1) * step[axis] for term, step in zip(found, steps, strict=True))
        if start[axis] + reach >= extent:
            return None
    return Followed(found, steps, start)


def _index(number: int, weights: Sequence[int], axes: Sequence[int]) -> tuple[int, ...] | None:
    """The index of a row-major number; None behind the last one."""
    if number >= prod(axes):
        return None
    return tuple(number // w % n for w, n in zip(weights, axes, strict=True))


def _inside(term: Term, step: Sequence[int], axes: Sequence[int]) -> int:
    """Steps of a digit along one axis from one end to the other; 0 where it does not walk so."""
    moved = [(n, s) for n, s in zip(axes, step, strict=True) if s]
    if len(moved) != 1 or moved[0][0] % moved[0][1]:
        return 0
    return moved[0][0] // moved[0][1]
