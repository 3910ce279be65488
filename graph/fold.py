"""Folding on float graphs: known values are computed, scales and offsets go into weights.

    y = add(mul(conv2d(x, w, b), s), t)       # s and t: one number for each channel
    y = conv2d(x, w * s, b * s + t)

A batch norm arrives as a product by a channel's factor and a sum. One that no weights could take
becomes a convolution of its own, by what its operator says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .float_graph import evaluate
from .fold_moves import fold_moves
from .graph import Array, Graph, Node
from .operators import OPERATORS
from .spec import Spec

Floats = NDArray[np.float64]


def fold(graph: Graph) -> None:
    """All foldings, in place, in their order."""
    fold_constants(graph)
    become(graph, lambda spec: spec.known)
    fold_channels(graph)
    become(graph, lambda spec: spec.left)
    fold_channels(graph)
    fold_moves(graph)
    remove_dead(graph)


def fold_constants(graph: Graph) -> None:
    """Compute every node whose inputs are all known."""
    import torch

    kept = []
    for node in graph.nodes:
        if not all(name in graph.constants for name in node.inputs):
            kept.append(node)
            continue
        known = [torch.from_numpy(graph.constants[name]) for name in node.inputs]
        value = evaluate(node.op, known, node.attrs)
        graph.constants[node.output] = np.array(value.numpy(), np.float32)
    graph.nodes[:] = kept


def become(graph: Graph, fact: Callable[[Spec], Callable[[Graph, Node], Node] | None]) -> None:
    """Each node as what its operator says that it may be instead."""
    for place, node in enumerate(graph.nodes):
        if (other := fact(OPERATORS[node.op])) is not None:
            graph.nodes[place] = other(graph, node)


@dataclass(slots=True)
class Channels:
    """Takes the result of an operator with weights times ``scale``, plus ``shift``."""

    scale: Floats
    shift: Floats


def fold_channels(graph: Graph) -> None:
    """Products and sums with one known number for each channel, or one for all, into weights.

    Only where nobody else reads the result of the operator whose weights they are.
    """
    reads = graph.read_counts()
    made: dict[str, Node] = {}
    alias: dict[str, str] = {}  # a folded node's result -> the name that replaces it
    found: dict[str, Channels] = {}
    for old in graph.nodes:
        node = replace(old, inputs=tuple(alias.get(name, name) for name in old.inputs))
        changes = OPERATORS[node.op].on_channels is not None
        x = _fold_into(graph, reads, made, found, node) if changes else ""
        if x:
            alias[node.output] = x
            reads[x] = reads[node.output]
        else:
            made[node.output] = node
    for name, channels in found.items():
        made[name] = _with_channels(graph, made[name], channels)
    graph.nodes[:] = made.values()
    graph.outputs[:] = [alias.get(name, name) for name in graph.outputs]


def _fold_into(
    graph: Graph, reads: Counter[str], made: dict[str, Node], found: dict[str, Channels], node: Node
) -> str:
    """Take ``node`` into the anchor before it; the name that replaces its result, or ""."""
    x, term = node.inputs
    spec = OPERATORS[node.op]
    if spec.commutes and x in graph.constants:
        x, term = term, x
    if term not in graph.constants or (found_at := _anchor(graph, reads, made, x)) is None:
        return ""
    anchor, axis = found_at
    count = graph.types[made[anchor].inputs[1]].shape[0]
    values = _per_channel(graph.constants[term], graph.types[x].shape, axis, count)
    if values is None:
        return ""
    channels = found.setdefault(anchor, Channels(np.ones(count), np.zeros(count)))
    assert spec.on_channels is not None
    channels.scale, channels.shift = spec.on_channels(channels.scale, channels.shift, values)
    return x


def _anchor(
    graph: Graph, reads: Counter[str], made: dict[str, Node], x: str
) -> tuple[str, int] | None:
    """The operator of known weights that ``x`` is, perhaps under another shape, and the
    axis of ``x`` that its channels lie along."""
    moves: list[Node] = []
    while x in made and reads[x] == 1:
        node = made[x]
        spec = OPERATORS[node.op]
        if spec.channel_axis is not None:
            known = all(other in graph.constants for other in node.inputs[1:])
            own = spec.channel_axis(len(graph.types[node.output].shape))
            axis = _followed(graph, own, moves[::-1]) if known else None
            return None if axis is None else (x, axis)
        if spec.axis_after is None:
            return None
        moves.append(node)
        x = node.inputs[0]
    return None


def _followed(graph: Graph, axis: int | None, moves: Sequence[Node]) -> int | None:
    """Where the moves put an axis; None where a move cuts it or joins it with another axis."""
    for node in moves:
        before, after = (graph.types[name].shape for name in (node.inputs[0], node.output))
        axis_after = OPERATORS[node.op].axis_after
        axis = axis_after(node, before, after, axis) if axis_after and axis is not None else None
    return axis


def _per_channel(
    term: Array, shape: tuple[int, ...], axis: int, count: int
) -> NDArray[np.float64] | None:
    """``term`` as one number for each channel; None where it varies or grows along other axes."""
    extents = (*[1] * (len(shape) - term.ndim), *term.shape)
    if len(extents) > len(shape) or term.size not in (1, count) or extents[axis] != term.size:
        return None
    return np.broadcast_to(term.astype(np.float64).reshape(-1), (count,))


def _with_channels(graph: Graph, anchor: Node, channels: Channels) -> Node:
    weight = graph.constants[anchor.inputs[1]].astype(np.float64)
    bias = graph.constants[anchor.inputs[2]].astype(np.float64) if anchor.inputs[2:] else 0.0
    scaled = weight * channels.scale.reshape(-1, *[1] * (weight.ndim - 1))
    names = [graph.add_constant(f"{anchor.inputs[1]}.folded", scaled)]
    if anchor.inputs[2:] or channels.shift.any():
        total = bias * channels.scale + channels.shift
        names.append(graph.add_constant(f"{anchor.output}.bias.folded", total))
    return replace(anchor, inputs=(anchor.inputs[0], *names))


def remove_dead(graph: Graph) -> None:
    """Drop nodes and constants that no output needs."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes[:] = reversed(kept)
    needed.update(graph.inputs)
    graph.constants = {name: value for name, value in graph.constants.items() if name in needed}
    graph.types = {name: kind for name, kind in graph.types.items() if name in needed}
