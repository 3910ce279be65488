"""The range of a softmax: what the calibrated rows need, with headroom for sharper ones.

The scale is a power of two, 2**-8 to 2**-15, so that the largest probability under a u8 map, its
*cover*, is 255/256 to 1/128. Eight bits cannot serve all rows: over 1,024 tokens a diffuse row
vanishes under a cover of 1, and a peaked one is cut by a small cover. The rule, in this order:

1. The cover holds the largest probability that was seen.
2. Rows twice as sharp as those seen (their scores doubled: p**2 over its sum) lose as little as
   the rows seen: of all covers the one with the least worse of both losses.
3. Precision that the rows seen do not need is headroom: the cover is widened as long as they keep
   ``ENOUGH`` of signal to noise. Up to some 90 even probabilities that is a cover of 1.

The losses are those of whole tensors, counted over histograms of the probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Array
from .observe import Range

ENOUGH = 100.0  # 20 dB
EXPONENTS = range(8, 16)  # the scale is 2**-exponent
OCTAVE = 8  # bins of a histogram
BINS = 48 * OCTAVE


class Probabilities:
    """Sees the results of a softmax along ``axis``."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.largest = 0.0
        self.seen = np.zeros(BINS, np.int64)
        self.sharper = np.zeros(BINS, np.int64)

    def add(self, array: Array) -> None:
        if not array.size:
            return
        wide = array.astype(np.float64)
        squares = wide**2
        self.largest = max(self.largest, float(wide.max()))
        self.seen += _counts(wide)
        self.sharper += _counts(squares / squares.sum(axis=self.axis, keepdims=True))

    def range(self) -> Range:
        return 0.0, cover(self._exponent())

    def _exponent(self) -> int:
        """The scale is 2**-exponent; a smaller exponent has the wider cover."""
        wide = [e for e in EXPONENTS if cover(e) >= self.largest] or [EXPONENTS[0]]
        losses = {e: (_loss(self.seen, e), _loss(self.sharper, e)) for e in wide}
        even = min(wide, key=lambda e: max(losses[e]))
        return min([even, *(e for e in wide if losses[e][0] * ENOUGH <= 1)])


def cover(exponent: int) -> float:
    """The largest probability that a u8 of scale 2**-exponent holds."""
    return 255 * 2.0**-exponent


def _counts(array: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values lie in each part of an octave below 1; the last bin has all the rest."""
    with np.errstate(divide="ignore"):
        depths = np.minimum(-np.log2(array.ravel()) * OCTAVE, BINS - 1)
    return np.bincount(np.maximum(depths, 0).astype(np.int64), minlength=BINS)


def _loss(counts: NDArray[np.int64], exponent: int) -> float:
    """Noise over signal: noise of probabilities that are cut, rounded, or rounded to zero."""
    values = 2.0 ** (-(np.arange(BINS) + 0.5) / OCTAVE)
    step = 2.0**-exponent
    cut = np.maximum(values - cover(exponent), 0.0) ** 2
    lost = np.where(values < step / 2, values**2, step**2 / 12)
    signal = float(counts @ values**2)
    return float(counts @ (cut + lost)) / signal if signal else 0.0
