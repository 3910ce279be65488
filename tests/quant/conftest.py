"""Float graphs written down in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dovetail.graph.float_graph import infer, verify
from dovetail.graph.graph import Array, Graph, Node, TensorType

Line = tuple[str, str, Sequence[str], Mapping[str, Any]]  # output, operator, inputs, attributes
Build = Callable[..., Graph]


@pytest.fixture
def build() -> Build:
    """build(inputs, lines, outputs, constants): shapes of results are inferred."""

    def made(
        inputs: Mapping[str, tuple[int, ...]],
        lines: Sequence[Line],
        outputs: Sequence[str] = (),
        constants: Mapping[str, Array] | None = None,
    ) -> Graph:
        known = {n: np.asarray(a, np.float32) for n, a in (constants or {}).items()}
        graph = Graph("test", list(inputs), constants=dict(known))
        graph.types = {name: TensorType(shape) for name, shape in inputs.items()}
        graph.types |= {name: TensorType(array.shape) for name, array in known.items()}
        for output, op, names, attrs in lines:
            shapes = [graph.types[name].shape for name in names]
            graph.nodes.append(Node(op, tuple(names), output, attrs))
            graph.types[output] = TensorType(infer(op, shapes, attrs))
        graph.outputs = list(outputs) or [graph.nodes[-1].output]
        verify(graph)
        return graph

    return made
