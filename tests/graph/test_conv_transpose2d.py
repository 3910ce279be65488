"""conv_transpose2d: torch's values, exact kernels, products and reads that touch data."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dovetail.driver.api import compile as compile_model
from dovetail.graph.attributes import GraphError, pads, pair
from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Node
from dovetail.graph.operators import INTEGERS
from dovetail.graph.operators.conv_transpose2d import phases
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.quantize import quantize

Q = INTEGERS["q_conv_transpose2d"]


def layers(rng: Random, count: int) -> list[nn.Module]:
    """Layers of 8 to 12 channels that give something of images of 5 by 4."""
    found: list[nn.Module] = []
    while len(found) < count:
        kernel, stride, dilation = (
            (rng.randint(1, most), rng.randint(1, most)) for most in (5, 3, 3)
        )
        down, along = (rng.randint(0, max(stride[i], dilation[i]) - 1) for i in (0, 1))
        padding, groups = (rng.randint(0, 3), rng.randint(0, 3)), rng.choice([1, 1, 2, 4])
        bias = rng.random() < 0.7
        layer = nn.ConvTranspose2d(
            8, 12, kernel, stride, padding, (down, along), groups, bias, dilation
        )
        try:
            if layer(torch.zeros(2, 8, 5, 4)).numel():
                found.append(layer)
        except RuntimeError:  # nothing is left when the padding is cut
            continue
    return found


def test_values_are_those_of_torch() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5, 4)
    for layer in layers(Random(0), 25):
        with torch.no_grad():
            want = layer.eval()(x).numpy()
        graph = import_model(layer, (x,))
        np.testing.assert_allclose(evaluate_float(graph, [x.numpy()])[0], want, atol=1e-6)
        integer = quantize(graph, [[x.numpy()]])
        came = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, [x.numpy()])))
        assert sqnr(want, came[0]) > 28, layer


def cases(rng: Random, count: int) -> list[tuple[Node, list[tuple[int, ...]]]]:
    found: list[tuple[Node, list[tuple[int, ...]]]] = []
    while len(found) < count:
        size, kernel, stride, dilation = (
            (rng.randint(1, most), rng.randint(1, most)) for most in (6, 4, 3, 3)
        )
        padding = tuple((rng.randint(0, 3), rng.randint(-1, 3)) for _ in range(2))
        groups = rng.choice([1, 2, 4])
        attrs = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups,
                 "room": 8 // groups + rng.choice([0, 0, 1, 4])}  # fmt: skip
        shapes: list[tuple[int, ...]] = [(2, 4, *size), (8, 4 // groups, *kernel), (8,)]
        node = Node(Q.name, ("x", "w", "b"), "y", attrs)
        try:
            Q.shape(node, shapes)
        except GraphError:
            continue
        found.append((node, shapes))
    return found


def test_kernels_are_exact(kit: Any) -> None:
    rng = np.random.default_rng(0)
    for node, (x, w, b) in cases(Random(1), 12):
        inputs = [kit.bytes_of(rng, *x), kit.weights_of(rng, *w)]
        bias = rng.integers(-9999, 9999, b).astype(np.int32)
        zero, requant = int(rng.choice([0, 77, 255])), kit.requant_of(rng, b[0], w[1] * 99999)
        kernel = kit.holds(
            Q.name, [*inputs, bias], 2, **{**node.attrs, "x_zero": zero, "requant": requant}
        )
        assert kernel.macs == products(node, [x, w, b])


def touched(node: Node, shapes: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """(h, w, kh, kw) of the products of one channel whose output is kept, one by one."""
    (sh, sw), (dh, dw) = pair(node, "stride"), pair(node, "dilation")
    (top, _), (left, _) = pads(node)
    rows, columns = (axis.outputs for axis in phases(node, shapes))
    found = set[tuple[int, ...]]()
    for at in np.ndindex(*shapes[0][2:], *shapes[1][2:]):
        row, column = at[0] * sh + at[2] * dh - top, at[1] * sw + at[3] * dw - left
        if 0 <= row < rows and 0 <= column < columns:
            found.add(at)
    return found


def products(node: Node, shapes: list[tuple[int, ...]]) -> int:
    return len(touched(node, shapes)) * shapes[0][0] * shapes[1][0] * shapes[1][1]


def test_products_and_reads_are_those_that_touch_data() -> None:
    for node, shapes in cases(Random(2), 60):
        found = touched(node, shapes)
        assert Q.products(node, shapes, Q.shape(node, shapes)) == products(node, shapes), node
        pixels, taps = {at[:2] for at in found}, {at[2:] for at in found}
        assert Q.reads(node, shapes, 0) == 2 * 4 * len(pixels), node
        assert Q.reads(node, shapes, 1) == 8 * shapes[1][1] * len(taps), node
        assert Q.reads(node, shapes, 2) == 8


@pytest.mark.parametrize(
    ("layer", "most"),
    [
        (nn.ConvTranspose2d(32, 32, 2, 2), 3000),
        (nn.ConvTranspose2d(8, 8, 3, 2, 1, 1, 2), 4000),
        (nn.ConvTranspose2d(16, 3, 4, 2, 1), 2000),
    ],
)
def test_code_is_exact_and_of_vectors(layer: nn.ConvTranspose2d, most: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, layer.in_channels, 12, 12)
    tuned = compile_model(layer.eval(), (x,), [(x,)], executor=0)
    integer = tuned.ready.graph
    want = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, [x.numpy()])))
    np.testing.assert_array_equal(np.asarray(tuned(x)), want[0])
    assert all(row.bound <= row.cycles for row in tuned.kernels)
    assert sum(row.cycles for row in tuned.kernels) < most


def test_a_batch_norm_goes_into_the_weights() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6), nn.ReLU()).eval()
    graph = import_model(model, (torch.randn(1, 4, 3, 3),))
    assert [node.op for node in graph.nodes] == ["conv_transpose2d", "relu"]


def test_no_more_may_be_cut_than_a_pixel_adds_to() -> None:
    attrs = {"stride": (1, 1), "dilation": (1, 1), "padding": ((2, 0), (0, 0)), "groups": 1,
             "room": 1}  # fmt: skip
    shapes = [(1, 1, 4, 4), (1, 1, 2, 2), (1,)]
    with pytest.raises(GraphError, match="no more is cut than a pixel adds to, but got"):
        Q.shape(Node(Q.name, ("x", "w", "b"), "y", attrs), shapes)
