"""A product by one constant a channel is a 1x1 depthwise convolution, which is exact per channel.

A batch norm that no convolution could take is left as ``mul`` and ``add``. As u8 tensors both
constants would be rounded to 256 steps, and the product between them once more.

    mul(x, scale [C,1,1]), add(_, shift [C,1,1])  ->  conv2d(x, scale [C,1,1,1], shift [C])
"""

from __future__ import annotations

from dataclasses import replace

from ..graph.graph import Array, Graph, Node, TensorType

CONVOLUTION = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


def channel_products(graph: Graph) -> Graph:
    """``graph`` with products of NCHW tensors by one constant a channel as convolutions.

    Tensors keep their names.
    """
    made = graph.without_nodes()
    joined: set[str] = set()
    for node in graph.nodes:
        if node.output in joined:
            continue
        split = _channels(graph, node) if node.op == "mul" else None
        if split is None:
            made.nodes.append(node)
            continue
        x, scale = split
        shifted = _shift_after(graph, node)
        if shifted is not None:
            joined.add(shifted[0].output)
        made.nodes.append(_convolution(made, node, x, scale, shifted))
    return made


def _channels(graph: Graph, node: Node) -> tuple[str, Array] | None:
    """The operands of a node: an NCHW tensor and one constant a channel; None for others."""
    shape = graph.types[node.output].shape
    for x, other in (node.inputs, node.inputs[::-1]):
        values = graph.constants.get(other)
        if values is None or x in graph.constants or len(shape) != 4:
            continue
        one_a_channel = (1,) * (4 - values.ndim) + values.shape == (1, shape[1], 1, 1)
        if one_a_channel and shape[1] > 1 and graph.types[x].shape == shape:
            return x, values.reshape(-1)
    return None


def _shift_after(graph: Graph, node: Node) -> tuple[Node, Array] | None:
    """The only reader of ``node`` and its constants, where it adds one constant a channel."""
    readers = list(graph.users(node.output))
    if len(readers) != 1 or readers[0].op != "add" or node.output in graph.outputs:
        return None
    split = _channels(graph, readers[0])
    return (readers[0], split[1]) if split else None


def _convolution(
    made: Graph, node: Node, x: str, scale: Array, shifted: tuple[Node, Array] | None
) -> Node:
    last = shifted[0] if shifted else node
    values = {"scale": scale.reshape(-1, 1, 1, 1)} | ({"shift": shifted[1]} if shifted else {})
    names = tuple(f"{last.output}.{kind}" for kind in values)
    for name, array in zip(names, values.values(), strict=True):
        made.constants[name] = array
        made.types[name] = TensorType(array.shape)
    attrs = CONVOLUTION | {"groups": scale.size}
    return replace(last, op="conv2d", inputs=(x, *names), attrs=attrs)
