"""In which shape a tensor is stored: at the model's borders, in the one in which operators use it.

    x (1, 64, 117), which only reshape(x, (1, 64, 1, 117)) reads      stored as (1, 64, 1, 117)

Which axis is innermost follows from a tensor's rank (``graph/physical.py``). What runs between the
borders has the rank that suits it (``graph/ranks.py``), and a reshape at a border is no work: an
input that is only read as another shape is stored as that, and so is an output that is made as
another and read by nobody. Elements keep their row-major order, so it is the same tensor. The graph
alone says so, and the form of a model's inputs and outputs is fixed.
"""

from __future__ import annotations

from .attributes import Shape
from .graph import Graph, Node
from .operators import OPERATORS


def stored_shape(graph: Graph, name: str) -> Shape:
    """The shape whose stored form the tensor has: its own, unless a border has another."""
    shape = graph.types[name].shape
    if name in graph.inputs:
        return _read_as(graph, name) or shape
    if name in graph.outputs:
        return _made_as(graph, name) or shape
    return shape


def _read_as(graph: Graph, name: str) -> Shape | None:
    """The one shape as which an input is read."""
    readers = list(graph.users(name))
    shapes = {graph.types[node.output].shape for node in readers}
    inside = all(_reshapes(node) and node.output not in graph.outputs for node in readers)
    if name in graph.outputs or len(shapes) != 1 or not inside:
        return None
    return shapes.pop()


def _made_as(graph: Graph, name: str) -> Shape | None:
    """The shape as which an output is made."""
    maker = next((node for node in graph.nodes if node.output == name), None)
    if maker is None or not _reshapes(maker) or any(graph.users(name)):
        return None
    (source,) = maker.inputs
    outside = source in {*graph.inputs, *graph.outputs} or source in graph.constants
    return None if outside else graph.types[source].shape


def _reshapes(node: Node) -> bool:
    return OPERATORS[node.op].reshapes
