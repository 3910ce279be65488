"""Runs a float graph on PyTorch's kernels, for calibration: tensors are freed after their last use.

outputs = evaluate_float(graph, [x], record=lambda name, array: observer.see(name, array))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .float_graph import evaluate
from .graph import Graph

Floats = NDArray[np.float32]
Record = Callable[[str, Floats], None]


def evaluate_float(
    graph: Graph, inputs: Sequence[Floats], record: Record | None = None
) -> list[Floats]:
    """The outputs for ``inputs``; ``record`` sees each input and each result as it is made.

    The array given to ``record`` is only valid during the call.
    """
    import torch

    _check_inputs(graph, inputs)
    readers = graph.read_counts()
    values = {name: torch.from_numpy(value) for name, value in graph.constants.items()}
    for name, array in zip(graph.inputs, inputs, strict=True):
        values[name] = torch.from_numpy(np.ascontiguousarray(array, np.float32))
        if record is not None:
            record(name, values[name].numpy())
    with torch.inference_mode():
        for node in graph.nodes:
            value = evaluate(node.op, [values[name] for name in node.inputs], node.attrs)
            values[node.output] = value
            if record is not None:
                record(node.output, value.numpy())
            for name in node.inputs:
                readers[name] -= 1
                if not readers[name]:
                    values.pop(name, None)
        return [np.array(values[name].numpy()) for name in graph.outputs]


def _check_inputs(graph: Graph, inputs: Sequence[Floats]) -> None:
    wanted = [graph.types[name].shape for name in graph.inputs]
    got = [np.shape(array) for array in inputs]
    if got != wanted:
        raise ValueError(f"evaluate_float: inputs must have the shapes {wanted}, but got {got}")
