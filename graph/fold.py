"""Folding on float graphs: known values are computed, scales and offsets go into weights.

    y = add(mul(conv2d(x, w, b), s), t)       # s and t: one number for each channel
    y = conv2d(x, w * s, b * s + t)

A batch norm arrives as a product by a channel's factor and a sum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .fold_moves import fold_moves
from .graph import Array, Graph, Node, TensorType
from .operators import evaluate

Floats = NDArray[np.float64]


def fold(graph: Graph) -> None:
    """All foldings, in place, in their order."""
    fold_constants(graph)
    fold_products(graph)
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
        graph.constants[node.output] = np.array(evaluate(node.op, known, node.attrs), np.float32)
    graph.nodes[:] = kept


def fold_products(graph: Graph) -> None:
    """A product with a known matrix on the right is a linear."""
    for place, node in enumerate(graph.nodes):
        if node.op != "matmul" or node.inputs[1] not in graph.constants:
            continue
        right = graph.constants[node.inputs[1]]
        if right.ndim == 2:
            weight = add_constant(graph, f"{node.inputs[1]}.transposed", right.T)
            graph.nodes[place] = replace(node, op="linear", inputs=(node.inputs[0], weight))


@dataclass(slots=True)
class Channels:
    """Takes the result of a convolution or linear times ``scale``, plus ``shift``."""

    scale: Floats
    shift: Floats


def fold_channels(graph: Graph) -> None:
    """Products and sums with one known number for each channel, or one for all, into weights.

    Only where nobody else reads the result of the convolution or linear.
    """
    reads = graph.read_counts()
    made: dict[str, Node] = {}
    alias: dict[str, str] = {}  # a folded node's result -> the name that replaces it
    found: dict[str, Channels] = {}
    for old in graph.nodes:
        node = replace(old, inputs=tuple(alias.get(name, name) for name in old.inputs))
        x = _fold_into(graph, reads, made, found, node) if node.op in ("mul", "add", "sub") else ""
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
    if node.op != "sub" and x in graph.constants:
        x, term = term, x
    if term not in graph.constants or (found_at := _anchor(graph, reads, made, x)) is None:
        return ""
    anchor, axis = found_at
    count = graph.types[made[anchor].inputs[1]].shape[0]
    values = _per_channel(graph.constants[term], graph.types[x].shape, axis, count)
    if values is None:
        return ""
    channels = found.setdefault(anchor, Channels(np.ones(count), np.zeros(count)))
    if node.op == "mul":
        channels.scale *= values
        channels.shift *= values
    else:
        channels.shift += values if node.op == "add" else -values
    return x


def _anchor(
    graph: Graph, reads: Counter[str], made: dict[str, Node], x: str
) -> tuple[str, int] | None:
    """The conv2d or linear of known weights that ``x`` is, perhaps under another shape, and the
    axis of ``x`` that its channels lie along."""
    moves: list[Node] = []
    while x in made and reads[x] == 1:
        node = made[x]
        if node.op in ("conv2d", "linear"):
            known = all(other in graph.constants for other in node.inputs[1:])
            axis = _followed(graph, _channel_axis(graph, node), moves[::-1]) if known else None
            return None if axis is None else (x, axis)
        if node.op not in ("reshape", "permute"):
            return None
        moves.append(node)
        x = node.inputs[0]
    return None


def _followed(graph: Graph, axis: int, moves: Sequence[Node]) -> int | None:
    """Where the moves put an axis; None where a move cuts it or joins it with another axis."""
    for node in moves:
        before, after = (graph.types[name].shape for name in (node.inputs[0], node.output))
        if node.op == "permute":
            axis = cast(Sequence[int], node.attrs["axes"]).index(axis)
            continue
        outer = prod(before[:axis])
        kept = [a for a, n in enumerate(after) if n == before[axis] and prod(after[:a]) == outer]
        if not kept:
            return None
        axis = kept[0]
    return axis


def _channel_axis(graph: Graph, anchor: Node) -> int:
    return 1 if anchor.op == "conv2d" else len(graph.types[anchor.output].shape) - 1


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
    names = [add_constant(graph, f"{anchor.inputs[1]}.folded", scaled)]
    if anchor.inputs[2:] or channels.shift.any():
        total = bias * channels.scale + channels.shift
        names.append(add_constant(graph, f"{anchor.output}.bias.folded", total))
    return replace(anchor, inputs=(anchor.inputs[0], *names))


def add_constant(graph: Graph, base: str, value: Array) -> str:
    """Enter ``value`` as float32 under ``base``, numbered where that is taken; returns the name."""
    name, count = base, 0
    while name in graph.types:
        count += 1
        name = f"{base}.{count}"
    with np.errstate(over="ignore"):  # an infinity is reported by its name
        graph.constants[name] = np.ascontiguousarray(value).astype(np.float32).reshape(value.shape)
    graph.types[name] = TensorType(value.shape)
    return name


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
