"""Foldings of data movement: padding goes into convolutions, reshapes meet and cancel.

conv2d(pad(x, 1), padding=0)              ->    conv2d(x, padding=1)
reshape(relu(reshape(x, a)), b)           ->    reshape(relu(x), b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from .attributes import Pads, Pair
from .graph import Graph, Node
from .operators import OPERATORS


def fold_moves(graph: Graph) -> None:
    """All foldings of this file, in place."""
    fold_pads(graph)
    sink_reshapes(graph)
    merge_reshapes(graph)


def fold_pads(graph: Graph) -> None:
    """A convolution reads what a spatial padding with zeros reads, and pads by itself."""
    made = {node.output: node for node in graph.nodes}
    for place, node in enumerate(graph.nodes):
        before = made.get(node.inputs[0]) if OPERATORS[node.op].pads_zeros else None
        if before is None or not OPERATORS[before.op].fill or not _pads_zeros(before, node):
            continue
        name = "pads" if "pads" in before.attrs else "padding"
        batch, channels, *spatial = cast(Sequence[Pair], before.attrs[name])
        if batch == channels == (0, 0):
            own = cast(Pads, node.attrs["padding"])
            both = tuple(
                (first + a, last + b) for (first, last), (a, b) in zip(own, spatial, strict=True)
            )
            inputs = (before.inputs[0], *node.inputs[1:])
            made[node.output] = replace(node, inputs=inputs, attrs={**node.attrs, "padding": both})
            graph.nodes[place] = made[node.output]


def _pads_zeros(pad: Node, node: Node) -> bool:
    """Whether a pad holds what the convolution's own padding would: in integers, its zero point."""
    return pad.attrs["value"] == node.attrs.get("x_zero", 0.0)


def sink_reshapes(graph: Graph) -> None:
    """A function of single values is taken before the reshape that only it reads."""
    reads = graph.read_counts()
    made: dict[str, Node] = {}
    for node in graph.nodes:
        before = made.get(node.inputs[0])
        alone = before is not None and OPERATORS[before.op].reshapes and reads[before.output] == 1
        if before is None or not alone or not OPERATORS[node.op].pointwise:
            made[node.output] = node
            continue
        del made[before.output]
        graph.types[before.output] = graph.types[before.inputs[0]]
        made[before.output] = replace(node, inputs=before.inputs, output=before.output)
        made[node.output] = replace(before, inputs=(before.output,), output=node.output)
    graph.nodes[:] = made.values()


def merge_reshapes(graph: Graph) -> None:
    """A reshape reads what the reshape before it reads; one that changes nothing goes."""
    made: dict[str, Node] = {}
    alias: dict[str, str] = {}
    for old in graph.nodes:
        node = replace(old, inputs=tuple(alias.get(name, name) for name in old.inputs))
        if OPERATORS[node.op].reshapes:
            before = made.get(node.inputs[0])
            if before is not None and OPERATORS[before.op].reshapes:
                node = replace(node, inputs=before.inputs)
            if graph.types[node.inputs[0]].shape == node.attrs["shape"]:
                alias[node.output] = node.inputs[0]
                continue
        made[node.output] = node
    graph.nodes[:] = made.values()
    graph.outputs[:] = [alias.get(name, name) for name in graph.outputs]
