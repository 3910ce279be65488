"""Operators in the other rank give the same bytes, and are there where that saves moves."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dovetail.graph.arrange import arrange
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Graph, Requant
from dovetail.graph.integer import verify
from dovetail.graph.lower import lower_graph
from dovetail.graph.ranks import turn, turned
from dovetail.graph.settle import settle
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize
from tests.graph.graphs import add, graph_of

RNG = np.random.default_rng(8)
REQUANT = Requant((1 << 30,), 36, 7)
SUM = {"a_zero": 3, "b_zero": 9, "a_mult": 300, "b_mult": -200, "shift": 8, "zero_point": 5,
       "low": 0, "high": 255}  # fmt: skip
PRODUCT = {"a_zero": 3, "b_zero": 9, "requant": REQUANT}


def holds(graph: Graph, made: Graph) -> None:
    verify(made)
    given = [RNG.integers(0, 256, graph.types[x].shape).astype(np.uint8) for x in graph.inputs]
    for one, other in zip(evaluate(graph, given), evaluate(made, given), strict=True):
        np.testing.assert_array_equal(one, other)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Operators that can be turned, between moves, on tensors of rank 3 and 4."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=3, max_size=4)))
    graph = graph_of(shape, (*(1,) * (len(shape) - 1), shape[-1]), shape)
    known = ["x0", "x2"]
    for _ in range(draw(st.integers(1, 5))):
        x = draw(st.sampled_from(known))
        known.append(_operator(draw, graph, x, graph.types[x].shape))
    graph.outputs = sorted({known[-1], draw(st.sampled_from(known[2:]))})
    return graph


def _operator(draw: st.DrawFn, graph: Graph, x: str, shape: tuple[int, ...]) -> str:
    rank = len(shape)
    axis = draw(st.integers(0, rank - 1))
    like = [name for name, kind in graph.types.items() if kind.shape == shape]
    match draw(st.sampled_from(["table", "sum", "row", "softmax", "product", "cat", "pad", "mean",
                                "permute", "reshape"])):  # fmt: skip
        case "table":
            return add(graph, "lookup", x, "table")
        case "sum":
            return add(graph, "q_add", x, draw(st.sampled_from(like)), **SUM)
        case "row" if graph.types["x1"].shape[-1] == shape[-1] and rank >= len(shape):
            return add(graph, "q_mul", x, "x1", **PRODUCT)
        case "softmax":
            return add(graph, "q_softmax", x, "exponents", axis=axis, shift=20)
        case "product":
            order = (*range(rank - 2), rank - 1, rank - 2)
            turned = add(graph, "permute", x, axes=order)
            return add(graph, "q_matmul", x, turned, **PRODUCT)
        case "cat":
            return add(graph, "cat", x, draw(st.sampled_from(like)), axis=axis)
        case "pad":
            pads = tuple(draw(st.sampled_from([(0, 0), (1, 0), (1, 2)])) for _ in shape)
            return add(graph, "pad", x, padding=pads, value=3)
        case "mean":
            keep = draw(st.booleans()) or rank == 3
            return add(graph, "q_mean", x, axes=(axis,), keepdim=keep, x_zero=4, requant=REQUANT)
        case "reshape":
            wanted = (*shape[:-1], 1, shape[-1]) if rank == 3 else (prod(shape[:2]), *shape[2:])
            return add(graph, "reshape", x, shape=wanted)
    return add(graph, "permute", x, axes=tuple(draw(st.permutations(range(rank)))))


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_operators_in_the_other_rank(graph: Graph) -> None:
    verify(graph)
    free = {node.output for node in graph.nodes if turn(graph, node) is not None}
    holds(graph, turned(graph, free))
    for name in free:
        holds(graph, turned(graph, {name}))
    holds(graph, arrange(graph))
    holds(graph, settle(graph))


def integer(model: nn.Module, *shape: int) -> Graph:
    x = torch.randn(shape)
    return quantize(import_model(model.eval(), (x,)), [[x.numpy()]])


def moves(graph: Graph) -> list[str]:
    """The results of kernels that move bytes."""
    kernels = lower_graph(graph)
    return [k.output for k in kernels if k.kind == "move" and not k.func.attrs["alias"]]


class Residual(nn.Module):
    """Causal convolutions of a sequence, beside a gate of its means."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.gate = nn.Conv1d(8, 8, 3), nn.Conv1d(8, 8, 1), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.one(nn.functional.pad(x, (2, 0))))
        y = y * torch.sigmoid(self.gate(y.mean(2)))[:, :, None]
        return nn.functional.max_pool1d(x + self.two(y), 2)


class Heads(nn.Module):
    """Attention as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(64, 192), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        images, tokens, width = x.shape
        q, k, v = (
            part.view(images, tokens, 2, width // 2).transpose(1, 2)
            for part in self.qkv(x).chunk(3, -1)
        )
        scores = torch.softmax(q @ k.transpose(-1, -2) * 0.2, -1)
        return torch.as_tensor(
            self.out((scores @ v).transpose(1, 2).reshape(images, tokens, width))
        )


def test_a_sequence_is_an_image_between_its_borders() -> None:
    graph = integer(Residual(), 1, 8, 40)
    made = settle(graph)
    holds(graph, made)
    assert not moves(made)
    assert "pad" not in {node.op for node in made.nodes}


@pytest.mark.parametrize("images", [1, 2])
def test_heads_are_matrices(images: int) -> None:
    graph = integer(Heads(), images, 128, 64)
    made = settle(graph)
    holds(graph, made)
    ranks = {len(made.types[n.output].shape) for n in made.nodes if n.op in ("q_matmul", "lookup")}
    assert ranks == {3} and len(moves(made)) == 4


def test_models_without_moves_stay_as_they_are() -> None:
    graph = integer(nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU(), nn.MaxPool2d(2)), 1, 3, 8, 8)
    made = settle(graph)
    assert made.nodes == graph.nodes and made.types == graph.types
