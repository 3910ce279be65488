"""Biases by which every layer has the float layer's means: what quantizing shifts is taken back.

    b' = b + (E[y] - E[y']) / (the share of y' that no clamp holds)        for each channel

y is a layer's result in floats and y' in integers, behind its clamp, over all batches and pixels.
Layers are corrected in their order, each behind those before it, so that errors do not add up.
After Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization
and Bias Correction" (2019), section 4.2, by calibration data instead of assumed distributions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from ...graph.emitting import FloatStep
from ...graph.evaluate import evaluate_node
from ...graph.evaluate_float import evaluate_float
from ...graph.graph import Array, Graph
from ...graph.operators import BY_NAME
from ..affine import bounds, quantize_inputs
from ..draft import ALGORITHMS, Draft

LEAST = 0.1  # a channel's share of results that no clamp holds is taken for this at least
Channels = NDArray[np.float64]


@ALGORITHMS.row("bias_correction", "biases that give the float layers' means in calibration")
def correct_biases(draft: Draft) -> Draft:
    """The draft with the biases of all layers corrected, under the same maps."""
    layers = {step.output: step for step in draft.steps if _has_bias(draft.graph, step)}
    wanted = _float_means(draft, layers)
    integer, begin = draft.integer(), 0
    states = [
        dict(zip(integer.inputs, quantize_inputs(integer, batch), strict=True))
        for batch in draft.batches
    ]
    for name, step in layers.items():
        end = 1 + [node.output for node in integer.nodes].index(name)
        found = [_after(integer, begin, end, state)[name] for state in states]
        shift = _shift(draft, step, wanted[name], found)
        draft = replace(draft, graph=_shifted(draft.graph, step, shift))
        integer = draft.integer()
        states = [_after(integer, begin, end, state) for state in states]
        begin = end
    return draft


def _has_bias(graph: Graph, step: FloatStep) -> bool:
    known = all(name in graph.constants for name in step.inputs[1:])
    return BY_NAME[step.op].channel_axis is not None and known


def _by_channel(array: Array, step: FloatStep) -> Channels:
    """The mean of a layer's result for each channel."""
    axis = BY_NAME[step.op].channel_axis
    assert axis is not None
    others = tuple(i for i in range(array.ndim) if i != axis(array.ndim))
    return np.asarray(array.mean(axis=others, dtype=np.float64))


def _float_means(draft: Draft, layers: Mapping[str, FloatStep]) -> dict[str, Channels]:
    found: dict[str, list[Channels]] = {name: [] for name in layers}

    def record(name: str, array: Array) -> None:
        if name in layers:
            found[name].append(_by_channel(array, layers[name]))

    for batch in draft.batches:
        evaluate_float(draft.graph, batch, record)
    return {name: np.mean(means, axis=0) for name, means in found.items()}


def _after(integer: Graph, begin: int, end: int, before: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors behind some nodes of a batch, those alone that later ones read, or the last."""
    arrays = dict(before)
    for node in integer.nodes[begin:end]:
        arrays[node.output] = evaluate_node(integer, node, arrays)
    read = {name for node in integer.nodes[end:] for name in node.inputs}
    last = integer.nodes[end - 1].output
    return {name: array for name, array in arrays.items() if name in read or name == last}


def _shift(draft: Draft, step: FloatStep, wanted: Channels, found: Sequence[Array]) -> Channels:
    """What is missing in a layer's biases."""
    of = draft.affines[step.output]
    low, high = bounds(step.low, step.high, of)
    low, high = (low if step.low > -inf else -1), (high if step.high < inf else 256)
    free = np.mean([_by_channel((q > low) & (q < high), step) for q in found], axis=0)
    came = (np.mean([_by_channel(q, step) for q in found], axis=0) - of.zero_point) * of.scale
    return np.asarray((wanted - came) / np.maximum(free, LEAST))


def _shifted(graph: Graph, step: FloatStep, shift: Channels) -> Graph:
    """The graph with numbers added to a layer's biases."""
    made, nodes = graph.without_nodes(), {node.output: node for node in graph.nodes}
    name = step.output
    while nodes[name].op != step.op:  # clamps behind it are of the step
        (name,) = nodes[name].inputs
    x, weight, *bias = step.inputs
    before = graph.constants[bias[0]] if bias else 0.0
    after = made.add_constant(f"{name}.bias.corrected", before + shift)
    nodes[name] = replace(nodes[name], inputs=(x, weight, after))
    made.nodes.extend(nodes.values())
    return made
