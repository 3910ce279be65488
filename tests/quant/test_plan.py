"""Clamps fold into producers, functions of one tensor join."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dovetail.graph.graph import Graph
from dovetail.quant.plan import plan

Build = Callable[..., Graph]
X = {"x": (2, 8)}
FC = {"w": np.ones((8, 8)), "k": np.array(3.0), "row": np.ones(8)}
RELU6 = {"low": 0.0, "high": 6.0}


def ops(graph: Graph) -> list[str]:
    return [step.op for step in plan(graph)]


def test_clamps_behind_a_product_are_its_bounds(build: Build) -> None:
    lines: list[Any] = [
        ("a", "linear", "xw", {}),
        ("b", "relu", "a", {}),
        ("c", "clamp", "b", RELU6),
    ]
    (step,) = plan(build(X, lines, constants=FC))
    assert (step.op, step.output, step.low, step.high) == ("linear", "c", 0.0, 6.0)


def test_a_clamp_whose_input_has_another_reader_is_a_table(build: Build) -> None:
    lines: list[Any] = [("a", "linear", "xw", {}), ("b", "relu", "a", {}), ("c", "mul", "ab", {})]
    assert ops(build(X, lines[:2], ["a", "b"], constants=FC)) == ["linear", "table"]
    (linear, product) = plan(build(X, lines, constants=FC))
    assert (linear.high, product.op) == (math.inf, "table")
    assert [node.output for node in product.body] == ["b", "c"]


def test_chains_of_unary_functions_are_one_table(build: Build) -> None:
    lines: list[Any] = [("a", "silu", "x", {}), ("b", "mul", "ak", {}), ("c", "tanh", "b", {})]
    (step,) = plan(build(X, lines, constants=FC))
    assert (step.op, step.inputs, len(step.body)) == ("table", ("x",), 3)


def test_branches_of_one_tensor_join(build: Build) -> None:
    lines: list[Any] = [("a", "sigmoid", "x", {}), ("b", "neg", "x", {}), ("c", "mul", "ab", {})]
    (step,) = plan(build(X, lines, constants=FC))
    assert [node.output for node in step.body] == ["a", "b", "c"]


def test_two_tensors_do_not_join(build: Build) -> None:
    lines: list[Any] = [("a", "sigmoid", "x", {}), ("b", "mul", "ay", {})]
    assert ops(build({"x": (2, 8), "y": (2, 8)}, lines)) == ["table", "mul"]


def test_a_row_of_constants_is_no_scalar(build: Build) -> None:
    assert ops(build(X, [("a", "add", ("x", "row"), {})], constants=FC)) == ["add"]


def test_what_nobody_needs_is_left_out(build: Build) -> None:
    lines: list[Any] = [("a", "silu", "x", {}), ("b", "linear", "xw", {})]
    assert ops(build(X, lines, constants=FC)) == ["linear"]
