"""Tensors of calls and calibration as arrays, in the order of the graph's inputs.

called(signature, (x,), {"mask": m})                  # [x as an array, m as an array]
calibration_batches(signature, loader, examples)      # a list of arrays for each batch
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..graph.graph import Array
from ..graph.pytree import Misfit
from ..graph.signature import Signature
from ..quant.errors import CalibrationError
from .errors import InputError


def called(
    signature: Signature, args: Sequence[object], kwargs: Mapping[str, object]
) -> list[Array]:
    """The arrays of a call."""
    return _arrays(partial(signature.call, args, kwargs))


def given(signature: Signature, inputs: object) -> list[Array]:
    """The arrays of example inputs."""
    return _arrays(partial(signature.given, inputs))


def _arrays(bind: Callable[[], list[Any]]) -> list[Array]:
    try:
        return [as_array(value) for value in bind()]
    except Misfit as misfit:
        raise InputError(f"run: {misfit}") from None


def calibration_batches(
    signature: Signature, calibration: object, examples: object
) -> Iterator[list[Array]]:
    """The arrays of each batch; without calibration the example inputs are the only one."""
    import torch

    if calibration is None:
        if examples is None:
            raise InputError(
                "calibration: batches of real inputs or example inputs are needed, but got neither"
            )
        _warn(
            "calibration: none was given, so the example inputs stand for all data; "
            "give calibration=batches for sound ranges"
        )
        calibration = [examples]
    if isinstance(calibration, (torch.Tensor, np.ndarray, Mapping)):
        raise InputError(
            "calibration: must be an iterable of batches, but got one "
            f"{type(calibration).__name__}; give [batch]"
        )
    try:
        if isinstance(calibration, (str, bytes)):
            raise TypeError
        batches: Iterator[object] = iter(calibration)  # type: ignore[call-overload]
    except TypeError:
        raise InputError(
            "calibration: must be an iterable of input tuples, "
            f"but got {type(calibration).__name__}"
        ) from None
    return (_batch(signature, n, batch) for n, batch in enumerate(batches, start=1))


def _batch(signature: Signature, number: int, batch: object) -> list[Array]:
    try:
        found = signature.given(batch)
    except Misfit as misfit:
        count = signature.needed
        more = isinstance(batch, (tuple, list)) and len(batch) > count
        hint = f"; where the rest are labels, give (batch[:{count}] for batch in batches)"
        raise CalibrationError(
            f"calibration: batch {number}: {misfit}{hint if more else ''}"
        ) from None
    return [as_array(value) for value in found]


def _warn(text: str) -> None:
    """A warning at the first line of the stack that is not ours."""
    frame, level, ours = sys._getframe(), 1, __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == ours:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def as_array(value: object) -> Array:
    """A tensor, an array or numbers as NumPy."""
    import torch

    try:
        if isinstance(value, np.ndarray) and value.dtype.kind not in "fc":
            raise TypeError
        if not isinstance(value, torch.Tensor):
            return np.asarray(value, np.float32)
        value = value.detach().cpu()
        if not value.is_floating_point():
            raise TypeError
        return np.asarray(value.float().numpy())
    except (TypeError, ValueError, NotImplementedError):  # sparse and meta tensors, too
        raise InputError(
            f"inputs: must be dense tensors or arrays of real numbers, but got {_kind(value)}"
        ) from None


def _kind(value: object) -> str:
    """The type of a value, and for integers the mend."""
    import torch

    kind, integers = type(value).__name__, False
    if isinstance(value, torch.Tensor):
        words = value.dtype, value.layout, value.device
        kind += f" ({', '.join(str(word).removeprefix('torch.') for word in words)})"
        integers = not value.is_floating_point() and not value.is_complex()
    if isinstance(value, np.ndarray):
        kind += f" ({value.dtype})"
        integers = value.dtype.kind in "iub"
    mend = "; give floats, scaled as in training, such as image.float() / 255"
    return kind + (mend if integers else "")
