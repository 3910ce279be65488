"""Runs an integer graph exactly, operator by operator, in NumPy: the reference of whole models.

outputs = evaluate(graph, [image_u8])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from .attributes import GraphError
from .graph import Array, Graph, Node
from .integer import integer_of

Record = Callable[[str, Array], None]


def evaluate_node(graph: Graph, node: Node, arrays: Mapping[str, Array]) -> Array:
    """The node's output from its inputs' values, by name; constants come from the graph."""
    values = [graph.constants[n] if n in graph.constants else arrays[n] for n in node.inputs]
    return integer_of(node).evaluate(node, values)


def evaluate(graph: Graph, inputs: Sequence[Array], record: Record | None = None) -> list[Array]:
    """The outputs for u8 ``inputs``; ``record`` sees every tensor, inputs included, by name."""
    arrays = _bind(graph, inputs)
    remaining = Counter(name for node in graph.nodes for name in node.inputs)
    remaining.update(graph.outputs)
    for name, array in arrays.items():
        if record:
            record(name, array)
    for node in graph.nodes:
        result = evaluate_node(graph, node, arrays)
        if record:
            record(node.output, result)
        arrays[node.output] = result
        for name in node.inputs:
            remaining[name] -= 1
            if not remaining[name]:
                arrays.pop(name, None)
    return [graph.constants[n] if n in graph.constants else arrays[n] for n in graph.outputs]


def _bind(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    if len(inputs) != len(graph.inputs):
        raise GraphError(f"{graph.name}: takes {len(graph.inputs)} inputs, but got {len(inputs)}")
    for name, array in zip(graph.inputs, inputs, strict=True):
        kind = graph.types[name]
        if array.shape != kind.shape or array.dtype.name != "uint8":
            raise GraphError(
                f"{graph.name}: input {name} is u8 of shape {kind.shape}, "
                f"but got {array.dtype.name} of shape {array.shape}"
            )
    return dict(zip(graph.inputs, inputs, strict=True))
