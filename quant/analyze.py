"""Where an integer graph loses accuracy: the signal to quantization noise ratio of each layer.

    for layer in analyze(graph, integer, batches):
        print(layer.name, layer.total, layer.own)     # dB

``total`` compares a layer's output with the float graph's, all errors before it included. ``own``
runs the layer alone on the quantized float inputs: the error that this layer adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..graph.evaluate import evaluate, evaluate_node
from ..graph.evaluate_float import evaluate_float
from ..graph.graph import Affine, Array, Graph, Node
from .affine import affine_of, dequantize_array, quantize_array, quantize_inputs
from .errors import CalibrationError
from .given_graphs import arrays, iterated, require_graph


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's SQNR in dB (infinite where nothing is lost), by its output tensor's name."""

    name: str
    op: str
    origin: str
    total: float
    own: float


@dataclass(slots=True)
class _Power:
    signal: float = 0.0
    noise: float = 0.0

    def add(self, real: Array, quantized: Array, of: Affine) -> None:
        wide = real.astype(np.float64)
        self.signal += float((wide**2).sum())
        self.noise += float(((wide - dequantize_array(quantized, of)) ** 2).sum())

    def ratio(self) -> float:
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


@dataclass(slots=True)
class _Account:
    total: _Power = field(default_factory=_Power)
    own: _Power = field(default_factory=_Power)


def analyze(graph: Graph, integer: Graph, batches: Iterable[Sequence[Array]]) -> list[Layer]:
    """Each node of ``integer`` whose tensor the float graph also has, in order."""
    require_graph("analyze", graph)
    require_graph("analyze", integer)
    shared = [node for node in integer.nodes if node.output in graph.types]
    accounts = {node.output: _Account() for node in shared}
    empty = True
    for number, batch in enumerate(iterated("analyze", batches), start=1):
        _account(graph, integer, _checked(graph, number, batch), shared, accounts)
        empty = False
    if empty:
        raise CalibrationError("analyze: at least one batch is needed, but there was none")
    return [
        Layer(node.output, node.op, node.origin, account.total.ratio(), account.own.ratio())
        for node, account in zip(shared, accounts.values(), strict=True)
    ]


def _checked(graph: Graph, number: int, batch: object) -> list[Array]:
    found = arrays("analyze", graph, number, batch)
    wanted = [graph.types[name].shape for name in graph.inputs]
    if [array.shape for array in found] != wanted:
        raise CalibrationError(
            f"analyze: inputs have the shapes {wanted}, "
            f"but batch {number} has {[array.shape for array in found]}"
        )
    return found


def _account(
    graph: Graph,
    integer: Graph,
    batch: Sequence[Array],
    shared: Sequence[Node],
    accounts: dict[str, _Account],
) -> None:
    """Add one batch's signal and noise to every layer's account."""
    reals: dict[str, Array] = {}
    evaluate_float(
        graph,
        [np.asarray(array, np.float32) for array in batch],
        lambda name, array: reals.update({name: array.copy()}) if name in integer.types else None,
    )

    def record(name: str, array: Array) -> None:
        if name in accounts:
            accounts[name].total.add(reals[name], array, affine_of(integer, name))

    evaluate(integer, quantize_inputs(integer, batch), record)
    arrays = {name: quantize_array(reals[name], affine_of(integer, name)) for name in reals}
    for node in shared:
        if all(name in arrays or name in integer.constants for name in node.inputs):
            made = evaluate_node(integer, node, arrays)
            accounts[node.output].own.add(reals[node.output], made, affine_of(integer, node.output))


def sqnr(real: Array, came: Array) -> float:
    """Signal to noise in dB of ``came`` against ``real``."""
    wide = real.astype(np.float64)
    noise = float(((wide - came) ** 2).sum())
    signal = float((wide**2).sum())
    return 10 * math.log10(signal / noise) if noise and signal else math.inf
