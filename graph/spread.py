"""Operands that repeat along the innermost stored axis while another axis next to it moves on.

    mul(x (1, 3, 16, 16), s (1, 1, 16, 16))    ->  mul(x, expand(s))       s: one number a pixel

Vectors hold many pixels of few channels, and such an operand has neither bytes that lie together
nor one byte for all lanes. Spread over the channels it is read as the other operand is; it still
repeats along all other axes. A known operand is spread here, another by a move. Of more channels,
a vector holds few pixels: their bytes are repeated in registers, which takes less than a move.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .attributes import Shape
from .graph import Graph, Node
from .integer import integer_of
from .physical import physical

FEW = 16  # stored channels from which on vectors hold few pixels


def spread(graph: Graph) -> Graph:
    """The integer graph with those operands of sums and products spread."""
    made = graph.without_nodes()
    for node in graph.nodes:
        inputs = node.inputs
        if integer_of(node).spreads:
            inputs = tuple(_operand(made, node, name) for name in inputs)
        made.nodes.append(replace(node, inputs=inputs))
    return made


def _operand(graph: Graph, node: Node, name: str) -> str:
    kind, output = graph.types[name], graph.types[node.output].shape
    wanted = spread_shape(kind.shape, output)
    if wanted is None:
        return name
    made = graph.fresh(name)
    graph.types[made] = replace(kind, shape=wanted)
    if name in graph.constants:
        graph.constants[made] = np.ascontiguousarray(np.broadcast_to(graph.constants[name], wanted))
    else:
        attrs = {"shape": wanted}
        graph.nodes.append(Node("expand", (name,), made, attrs, node.origin))
    return made


def spread_shape(shape: Shape, output: Shape) -> Shape | None:
    """The shape to which an operand is spread; None where it is read as it is."""
    if len(output) < 2 or physical(output)[3] >= FEW:
        return None
    aligned = [1] * (len(output) - len(shape)) + list(shape)
    innermost, beside = (1, 3) if len(output) == 4 else (-1, -2)
    if aligned[innermost] != 1 or output[innermost] == 1 or aligned[beside] == 1:
        return None
    aligned[innermost] = output[innermost]
    return tuple(aligned)
