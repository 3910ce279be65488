"""Folding on float graphs: known values are computed, batch norms go into the weights before them.

y = batch_norm(conv2d(x, w), mean, variance, g, b)
y = conv2d(x, w * s, b - mean * s)                       s = g / sqrt(variance + epsilon)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .fold_moves import fold_moves
from .graph import Array, Graph, Node, TensorType
from .operators import evaluate

Floats = NDArray[np.float64]


def fold(graph: Graph) -> None:
    """All foldings, in place, in their order."""
    fold_constants(graph)
    fold_batch_norms(graph)
    fold_products(graph)
    fold_biases(graph)
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


def fold_batch_norms(graph: Graph) -> None:
    """Into the convolution or linear before it, if nobody else reads that; else mul and add."""
    reads = reads_of(graph)
    made: dict[str, Node] = {}
    alias: dict[str, str] = {}  # what a folded norm defined -> what stands for it
    for old in graph.nodes:
        node = replace(old, inputs=tuple(alias.get(name, name) for name in old.inputs))
        if node.op != "batch_norm":
            made[node.output] = node
        elif anchor := _anchor(graph, reads, made, node):
            made[anchor] = _scaled_anchor(graph, made[anchor], *_scale_and_shift(graph, node))
            alias[node.output] = node.inputs[0]
            reads[node.inputs[0]] = reads[node.output]
        else:
            made.update((new.output, new) for new in _mul_add(graph, node))
    graph.nodes[:] = made.values()
    graph.outputs[:] = [alias.get(name, name) for name in graph.outputs]


def _anchor(graph: Graph, reads: Counter[str], made: dict[str, Node], norm: Node) -> str:
    """The conv2d or linear whose channels ``norm`` scales, or "": only it may read the result.

    Reshapes that keep the channels may stand between.
    """
    name = norm.inputs[0]
    while name in made and reads[name] == 1:
        node = made[name]
        if node.op in ("conv2d", "linear") and _channels_are_axis_1(graph, node):
            return name
        if node.op != "reshape" or not _keeps_channels(graph, node):
            return ""
        name = node.inputs[0]
    return ""


def _channels_are_axis_1(graph: Graph, node: Node) -> bool:
    known = all(name in graph.constants for name in node.inputs[1:])
    return known and (node.op == "conv2d" or len(graph.types[node.output].shape) == 2)


def _keeps_channels(graph: Graph, node: Node) -> bool:
    return graph.types[node.inputs[0]].shape[:2] == graph.types[node.output].shape[:2]


def _scale_and_shift(graph: Graph, norm: Node) -> tuple[Floats, Floats]:
    mean, variance, weight, bias = (
        graph.constants[name].astype(np.float64) for name in norm.inputs[1:]
    )
    epsilon = norm.attrs["epsilon"]
    assert isinstance(epsilon, float)
    with np.errstate(all="ignore"):  # a value that is not finite is reported by its name
        scale = weight / np.sqrt(variance + epsilon)
        return scale, bias - mean * scale


def _scaled_anchor(graph: Graph, node: Node, scale: Floats, shift: Floats) -> Node:
    weight = graph.constants[node.inputs[1]].astype(np.float64)
    bias = graph.constants[node.inputs[2]].astype(np.float64) if len(node.inputs) > 2 else 0.0
    scaled = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    names = (
        add_constant(graph, f"{node.inputs[1]}.folded", scaled),
        add_constant(graph, f"{node.output}.bias.folded", bias * scale + shift),
    )
    return replace(node, inputs=(node.inputs[0], *names))


def _mul_add(graph: Graph, norm: Node) -> list[Node]:
    scale, shift = _scale_and_shift(graph, norm)
    shape = (-1, *[1] * (len(graph.types[norm.output].shape) - 2))
    factor = add_constant(graph, f"{norm.output}.scale", scale.reshape(shape))
    term = add_constant(graph, f"{norm.output}.shift", shift.reshape(shape))
    product = f"{norm.output}.product"
    graph.types[product] = graph.types[norm.output]
    return [
        Node("mul", (norm.inputs[0], factor), product, {}, norm.origin),
        Node("add", (product, term), norm.output, {}, norm.origin),
    ]


def fold_products(graph: Graph) -> None:
    """A product with a known matrix on the right is a linear."""
    for place, node in enumerate(graph.nodes):
        if node.op != "matmul" or node.inputs[1] not in graph.constants:
            continue
        right = graph.constants[node.inputs[1]]
        if right.ndim == 2:
            weight = add_constant(graph, f"{node.inputs[1]}.transposed", right.T)
            graph.nodes[place] = replace(node, op="linear", inputs=(node.inputs[0], weight))


def fold_biases(graph: Graph) -> None:
    """The sum of a linear without bias and a known vector is the linear with it."""
    reads = reads_of(graph)
    made = {node.output: node for node in graph.nodes}
    renamed: dict[str, Node] = {}
    for node in graph.nodes:
        if node.op != "add":
            continue
        for x, term in (node.inputs, node.inputs[::-1]):
            before = made.get(x)
            if before is None or before.op != "linear" or len(before.inputs) > 2 or reads[x] > 1:
                continue
            if term in graph.constants and _is_row(graph, term, x):
                bias = add_constant(graph, term, graph.constants[term].reshape(-1))
                renamed[x] = replace(before, inputs=(*before.inputs, bias), output=node.output)
                renamed[node.output] = node
                break
    graph.nodes[:] = [
        renamed.get(node.output, node) for node in graph.nodes if renamed.get(node.output) != node
    ]


def _is_row(graph: Graph, term: str, x: str) -> bool:
    """One value for each element of the last axis, and no axis that the sum would add."""
    kind, whole = graph.types[term], graph.types[x].shape
    return kind.shape[-1:] == whole[-1:] == (kind.size,) and len(kind.shape) <= len(whole)


def reads_of(graph: Graph) -> Counter[str]:
    """How often each tensor is read; the caller of the graph counts as a reader."""
    return Counter([name for node in graph.nodes for name in node.inputs] + graph.outputs)


def add_constant(graph: Graph, base: str, value: Array) -> str:
    """Enter ``value`` as float32 under ``base``, numbered where that is taken; returns the name."""
    name, count = base, 0
    while name in graph.types:
        count += 1
        name = f"{base}.{count}"
    with np.errstate(over="ignore"):
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
