"""What quantize and analyze are given, checked: graphs, and batches of arrays.

require_graph("quantize", graph)
arrays("calibration", 1, [[0.5, 1.0]])       # [array([0.5, 1.], dtype=float32)]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..graph.graph import Array, Graph
from .errors import CalibrationError, QuantizationError


def require_graph(what: str, graph: object) -> None:
    """QuantizationError unless the argument is a Graph: a torch module, for example, is none."""
    if not isinstance(graph, Graph):
        raise QuantizationError(
            f"{what}: the graph must be one of import_model or quantize, "
            f"but got {type(graph).__name__}"
        )


def iterated(what: str, batches: Any) -> Iterator[Any]:
    """The batches one by one."""
    try:
        if isinstance(batches, str | bytes):
            raise TypeError
        return iter(batches)
    except TypeError:
        raise CalibrationError(
            f"{what}: must be an iterable of batches, each a list of arrays, "
            f"but got {type(batches).__name__}"
        ) from None


def arrays(what: str, graph: Graph, number: int, batch: Any) -> list[Array]:
    """The arrays of a batch, one an input of the graph; their shapes are not looked at."""
    listed = isinstance(batch, list | tuple)
    if not listed or len(batch) != len(graph.inputs):
        came = f"{len(batch)} arrays" if listed else f"of type {type(batch).__name__}"
        raise CalibrationError(
            f"{what}: a batch is a list of {len(graph.inputs)} arrays, one an input, "
            f"but batch {number} is {came}"
        )
    try:
        return [np.asarray(array, np.float32) for array in batch]
    except (TypeError, ValueError):
        raise CalibrationError(
            f"{what}: a batch is a list of arrays of real numbers, but batch {number} is none"
        ) from None
