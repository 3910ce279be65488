"""Sums of more elements than i32 can hold become sums of parts, as each operator says.

short_sums(graph)     # mean(x [3000, 3000], axes (0, 1))  ->  mean(mean(x, axes (1,)), axes (0, 1))
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph.attributes import Shape
from ..graph.float_graph import infer
from ..graph.graph import Graph, Node, TensorType
from ..graph.operators import FLOATS
from .errors import QuantizationError
from .fixed import INT32_MAX

LONGEST = INT32_MAX // 255  # elements of a sum of u8


def short_sums(graph: Graph) -> Graph:
    """``graph`` with sums of more than ``LONGEST`` elements in parts; tensors keep names."""
    made = _Parts(graph.without_nodes())
    for node in graph.nodes:
        (FLOATS[node.op].shorten or _Parts.keep)(made, node)
    return made.graph


@dataclass(frozen=True, slots=True)
class _Parts:
    """The graph that grows."""

    graph: Graph

    @property
    def longest(self) -> int:
        return LONGEST

    def shape(self, name: str) -> Shape:
        return self.graph.types[name].shape

    def keep(self, node: Node) -> None:
        self.graph.nodes.append(node)

    def append(self, node: Node, op: str, inputs: tuple[str, ...], **attrs: object) -> str:
        """A new tensor named after the node's."""
        name, count = f"{node.output}.part", 0
        while name in self.graph.types:
            count += 1
            name = f"{node.output}.part{count}"
        shape = infer(op, [self.shape(x) for x in inputs], attrs)
        self.keep(Node(op, inputs, name, attrs, node.origin))
        self.graph.types[name] = TensorType(shape)
        return name

    def refused(self, sentence: str) -> QuantizationError:
        return QuantizationError(sentence)
