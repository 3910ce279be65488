"""upsample_nearest2d: torch's pixels for any size and factor, exact kernels of copies, reads."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.graph.attributes import GraphError
from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Node
from dovetail.graph.operators import INTEGERS
from dovetail.graph.periods import pieces
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.quantize import quantize

Q = INTEGERS["upsample_nearest2d"]


class Resize(nn.Module):
    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(x, mode="nearest", **self.how)


@pytest.mark.parametrize(
    ("how", "shape", "op"),
    [({"scale_factor": 2}, (2, 3, 4, 5), "expand"),
     ({"size": (12, 5)}, (1, 3, 4, 5), "expand"),
     ({"scale_factor": 1.5}, (1, 3, 4, 5), Q.name),
     ({"scale_factor": (3, 1.3)}, (1, 3, 13, 11), Q.name),
     ({"scale_factor": 2.7}, (1, 3, 13, 11), Q.name),
     ({"scale_factor": 0.6}, (1, 3, 13, 11), Q.name),
     ({"size": (7, 9)}, (2, 3, 4, 5), Q.name),
     ({"size": (3, 2)}, (1, 5, 4, 5), Q.name),
     ({"scale_factor": 3}, (1, 3, 7), "expand"),
     ({"size": 11}, (1, 3, 7), Q.name)],
)  # fmt: skip
def test_pixels_are_those_of_torch(how: dict[str, Any], shape: tuple[int, ...], op: str) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    model = Resize(**how)
    graph = import_model(model, (x,))
    assert op in [node.op for node in graph.nodes]
    np.testing.assert_array_equal(evaluate_float(graph, [x.numpy()])[0], model(x).numpy())
    integer = quantize(graph, [[x.numpy()]])
    (came,) = evaluate(integer, quantize_inputs(integer, [x.numpy()]))
    np.testing.assert_array_equal(came, model(torch.from_numpy(quantize_inputs(
        integer, [x.numpy()])[0]).float()).numpy().astype(np.uint8))  # fmt: skip


def test_pieces_are_all_of_the_numbers() -> None:
    rng = Random(0)
    for _ in range(300):
        extent, wanted = rng.randint(1, 20), rng.randint(1, 40)
        numbers = [int(i * extent / wanted) for i in range(wanted)]
        if rng.random() < 0.3:
            numbers = [rng.randint(0, 5) for _ in range(wanted)]
        found: dict[int, int] = {}
        for p in pieces(numbers):
            for j in range(p.count):
                for again in range(p.times):
                    assert found.setdefault(p.to + p.period * j + again, p.come + p.far * j) >= 0
        assert [found[i] for i in range(wanted)] == numbers and len(found) == wanted
    assert len(list(pieces([0, 0, 1, 2, 2, 3, 4, 4, 5]))) == 2


def test_kernels_are_exact(kit: Any) -> None:
    rng, chance = np.random.default_rng(0), Random(0)
    for _ in range(12):
        shape = (
            chance.randint(1, 2),
            chance.randint(1, 9),
            chance.randint(1, 6),
            chance.randint(1, 6),
        )
        sizes = chance.randint(1, 13), chance.randint(1, 13)
        rows, columns = (
            tuple(i * extent // size for i in range(size))
            for extent, size in zip(shape[2:], sizes, strict=True)
        )
        kernel = kit.holds(Q.name, [kit.bytes_of(rng, *shape)], rows=rows, columns=columns)
        assert kernel.macs == 0


def test_reads_are_the_pixels_that_show() -> None:
    node = Node(Q.name, ("x",), "y", {"rows": (0, 0, 3), "columns": (1, 2)})
    ones = np.eye(2 * 4 * 4, dtype=np.uint8).reshape(-1, 1, 2, 4, 4)
    shown = sum(bool(Q.evaluate(node, [x]).any()) for x in ones)
    assert Q.reads(node, [(1, 2, 4, 4)], 0) == shown == 2 * 2 * 2
    assert Q.moves(node)


def test_rows_are_there() -> None:
    node = Node(Q.name, ("x",), "y", {"rows": (0, 4), "columns": (0,)})
    with pytest.raises(GraphError, match=r"rows are in 0..3, but got \(0, 4\)"):
        Q.shape(node, [(1, 1, 4, 4)])


def test_code_is_exact_and_of_vectors() -> None:
    x = torch.randn(1, 32, 12, 12)
    for how in ({"scale_factor": 2}, {"scale_factor": 1.5}):
        tuned = compile_model(Resize(**how), (x,), [(x,)], executor=0)
        integer = tuned.ready.graph
        want = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, [x.numpy()])))
        np.testing.assert_array_equal(np.asarray(tuned(x)), want[0])
        (row,) = tuned.kernels
        assert row.bound <= row.cycles < 2000
