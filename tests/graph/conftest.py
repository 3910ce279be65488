"""Runs a kernel in the interpreter and holds it to the operator's evaluator, byte for byte.

def test_add(kit: Any) -> None:
    kit.holds("q_add", [kit.bytes_of(rng, 2, 3), kit.bytes_of(rng, 2, 3)], a_zero=3, ...)
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dovetail.graph.evaluate import evaluate_node
from dovetail.graph.graph import Array, Graph, Node, Requant, TensorType
from dovetail.graph.integer import infer_shape, verify
from dovetail.graph.kernels import Kernel
from dovetail.graph.lower import lower
from dovetail.graph.physical import pack, unpack
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse, show

SHORT = {"uint8": "u8", "int8": "i8", "int32": "i32"}
EXTREMES = np.array([0, 1, 127, 128, 254, 255], np.uint8)


def bytes_of(rng: np.random.Generator, *shape: int) -> Array:
    """u8 values, half of them extremes."""
    uniform = rng.integers(0, 256, shape).astype(np.uint8)
    return np.where(rng.random(shape) < 0.5, rng.choice(EXTREMES, shape), uniform)


def weights_of(rng: np.random.Generator, *shape: int) -> Array:
    """i8 values; a quarter of them the ends."""
    uniform = rng.integers(-127, 128, shape)
    ends = rng.choice([-127, 127], shape)
    return np.where(rng.random(shape) < 0.25, ends, uniform).astype(np.int8)


def requant_of(rng: np.random.Generator, channels: int, reach: float) -> Requant:
    """Multipliers that spread accumulators of up to ``reach`` over all bytes."""
    shift = 31 + max(int(math.log2(max(reach, 1))) - 8, 0)
    multipliers = tuple(int(m) for m in rng.integers(1 << 29, 1 << 31, channels))
    zero = int(rng.choice([0, 3, 128, 255]))
    return Requant(
        multipliers, shift, zero, int(rng.choice([0, min(zero, 100)])), int(rng.choice([200, 255]))
    )


def graph_of(op: str, inputs: list[Array], constants: int = 0, **attrs: Any) -> Graph:
    """One node ``y``; its last ``constants`` inputs are constants."""
    names = [f"t{i}" for i in range(len(inputs))]
    types = {
        n: TensorType(a.shape, SHORT[a.dtype.name]) for n, a in zip(names, inputs, strict=True)
    }
    free = len(inputs) - constants
    node = Node(op, tuple(names), "y", attrs, "model.py:1")
    known = dict(zip(names[free:], inputs[free:], strict=True))
    graph = Graph("test", names[:free], ["y"], [node], types, known)
    types["y"] = TensorType(infer_shape(graph, node), "u8")
    verify(graph)
    return graph


def run(graph: Graph, kernel: Kernel, arrays: dict[str, Array], pad: int = 0) -> Array:
    """The kernel's output; ``pad`` stands in the pads of its inputs, garbage in its output."""
    *params, result = (p for p in kernel.func.params if p.name not in kernel.func.constants)
    stored = [pack(arrays[name], arrays[name].shape, pad).reshape(param.shape)
              for name, param in zip(kernel.inputs, params, strict=True)]  # fmt: skip
    shape = graph.types[kernel.output].shape
    output = np.full(result.shape, 0xA5, np.uint8)
    interpret(kernel.func, *stored, output)
    return unpack(output, shape)


def holds(op: str, inputs: list[Array], constants: int = 0, **attrs: Any) -> Kernel:
    """The kernel of one node gives the evaluator's bytes, whatever stands in the pads."""
    graph = graph_of(op, inputs, constants, **attrs)
    (node,) = graph.nodes
    kernel = lower(graph, node)
    assert parse(show(kernel.func)) == kernel.func
    arrays = dict(zip(node.inputs, inputs, strict=True))
    want = evaluate_node(graph, node, arrays)
    for pad in (0, 255):
        np.testing.assert_array_equal(run(graph, kernel, arrays, pad), want)
    return kernel


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions of this file."""
    functions = (bytes_of, weights_of, requant_of, graph_of, run, holds)
    return SimpleNamespace(**{function.__name__: function for function in functions})
