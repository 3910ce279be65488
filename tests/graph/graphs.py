"""Small quantized graphs, node by node, for the tests of what rewrites and stores them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dovetail.graph.graph import Graph, Node, TensorType
from dovetail.graph.integer import infer_shape

TABLE = np.random.default_rng(8).permutation(256).astype(np.uint8)
EXPONENTS = np.rint(np.exp(-np.arange(256) / 20) * (1 << 15)).astype(np.int32)


def graph_of(*shapes: tuple[int, ...]) -> Graph:
    graph = Graph("test", [f"x{i}" for i in range(len(shapes))])
    graph.constants = {"table": TABLE, "exponents": EXPONENTS}
    graph.types = {
        name: TensorType(shape, "u8") for name, shape in zip(graph.inputs, shapes, strict=True)
    }
    graph.types |= {"table": TensorType((256,), "u8"), "exponents": TensorType((256,), "i32")}
    return graph


def add(graph: Graph, op: str, *inputs: str, **attrs: Any) -> str:
    """A node of bytes; gives its output."""
    node = Node(op, inputs, f"t{len(graph.nodes)}", attrs)
    graph.types[node.output] = TensorType(infer_shape(graph, node), "u8")
    graph.nodes.append(node)
    return node.output
