"""Weights to i8 per output channel, biases to i32, and the proof that accumulators fit i32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Affine, Array
from .errors import QuantizationError
from .fixed import INT32_MAX

# Scales of one tensor spread by at most this, so that a shared shift leaves every channel's
# multiplier 14 bits; channels of smaller weights are too weak to be seen beside the others.
SPREAD = 2.0**16
BIAS_LIMIT = 2.0**29  # A channel whose bias would be above gets coarser weights.


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """Quantized weights: real weight = scales[channel] * weight; bound = the largest |acc|."""

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    scales: tuple[float, ...]
    bound: int


def quantize_weights(name: str, weight: Array, bias: Array | None, x: Affine) -> QuantizedWeights:
    """``weight`` has its output channels first, ``bias`` one each; ``x`` is the input's map."""
    rows = weight.reshape(weight.shape[0], -1).astype(np.float64)
    real_bias = np.zeros(len(rows)) if bias is None else bias.astype(np.float64)
    if not (np.isfinite(rows).all() and np.isfinite(real_bias).all()):
        raise QuantizationError(
            f"{name}: weights and biases must be finite, but some are NaN or infinite"
        )
    scales = _scales(rows, real_bias, x)
    quantized = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int64)
    sums = np.abs(quantized).sum(axis=1) * max(x.zero_point, 255 - x.zero_point)
    _prove(name, sums)
    room = INT32_MAX - sums
    steps = np.clip(np.rint(real_bias / (scales * x.scale)), -room, room).astype(np.int64)
    return QuantizedWeights(
        quantized.astype(np.int8).reshape(weight.shape),
        steps.astype(np.int32),
        tuple(scales.tolist()),
        int((sums + np.abs(steps)).max(initial=1)),
    )


def _scales(rows: Array, bias: Array, x: Affine) -> Array:
    """Symmetric: the largest weight of a channel is 127 steps."""
    scales = np.abs(rows).max(axis=1, initial=0.0) / 127
    scales = np.maximum(scales, np.abs(bias) / (x.scale * BIAS_LIMIT))
    scales = np.maximum(scales, scales.max(initial=0.0) / SPREAD)
    return np.where(scales > 0, scales, 1.0)


def _prove(name: str, sums: Array) -> None:
    channel = int(np.argmax(sums))
    if sums[channel] > INT32_MAX:
        raise QuantizationError(
            f"{name}: accumulators must fit i32, but channel {channel} can reach "
            f"{int(sums[channel])}; split the reduction into smaller layers"
        )
