"""layer_norm: nearly all bytes are the float operator's, none is more than one step off; exact."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.graph.attributes import GraphError
from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Array, Graph
from dovetail.graph.lower import lower
from dovetail.graph.operators.layer_norm import MOST, halves, head, mean_of, reach, room
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import affine_of, dequantize_array, dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.errors import QuantizationError
from dovetail.quant.quantize import quantize

KINDS = ("normal", "tiny", "one apart", "alike", "outlier", "far mean")
SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((16, 768), 768), ((50, 64), 64), ((4, 3, 5, 7), (5, 7)), ((2, 3, 8, 8), (3, 8, 8)),
    ((2, 20, 1000), (20, 1000)), ((2, MOST), MOST), ((300, 2), 2), ((9, 1), 1),
]  # fmt: skip


def norm(over: Any, **how: Any) -> nn.LayerNorm:
    torch.manual_seed(1)
    layer = nn.LayerNorm(over, **how).eval()
    with torch.no_grad():
        if layer.weight is not None:
            layer.weight.normal_(1, 0.5)
        if layer.bias is not None:
            layer.bias.normal_()
    return layer


def rows(kind: str, shape: tuple[int, ...], count: int) -> Tensor:
    torch.manual_seed(0)
    x = torch.randn(shape)
    flat = x.reshape(-1, count)
    match kind:
        case "tiny":
            x *= 1e-3
        case "one apart":
            flat.zero_()
            flat[:, 0] = 0.004
            flat[0, 0] = 1.0
        case "alike":
            flat[1:] = flat[1:, :1].clone()
        case "outlier":
            flat[:, 0] = 30
        case "far mean":
            flat.copy_(flat * 0.02 + torch.randn(len(flat), 1) * 3)
    return x


def quantized(layer: nn.Module, x: Tensor, graph: Graph | None = None) -> tuple[Graph, Array]:
    integer = quantize(graph or import_model(layer, (x,)), [[x.numpy()]])
    return integer, quantize_inputs(integer, [x.numpy()])[0]


def wanted(layer: nn.Module, integer: Graph, x: Array) -> NDArray[np.float64]:
    """The float operator on what the bytes mean, rounded to the map of the result."""
    real = torch.from_numpy(dequantize_array(x, affine_of(integer, integer.inputs[0])))
    y, of = layer.double()(real.double()).detach().numpy(), affine_of(integer, integer.outputs[0])
    layer.float()
    return np.asarray(np.clip(np.rint(y / of.scale) + of.zero_point, 0, 255))


@pytest.mark.parametrize("how", [{}, {"elementwise_affine": False}, {"eps": 1e-3, "bias": False}])
@pytest.mark.parametrize(("shape", "over"), SHAPES)
def test_bytes_are_those_of_the_float_operator(
    shape: tuple[int, ...], over: Any, how: dict[str, Any]
) -> None:
    layer = norm(over, **how)
    graph = import_model(layer, (torch.zeros(shape),))
    for kind in KINDS:
        x = rows(kind, shape, int(np.prod(over)))
        integer, inputs = quantized(layer, x, graph)
        (came,) = evaluate(integer, [inputs])
        apart = np.abs(wanted(layer, integer, inputs) - came)
        assert (apart == 0).mean() >= 0.99 and apart.max() <= 1, (kind, apart.max())


def test_values_are_those_of_torch() -> None:
    for layer, shape in ((norm(24), (3, 24)), (norm((4, 6), eps=1e-2), (2, 3, 4, 6))):
        x = torch.randn(shape)
        graph = import_model(layer, (x,))
        want = layer(x).detach().numpy()
        np.testing.assert_allclose(evaluate_float(graph, [x.numpy()])[0], want, atol=1e-5)
        integer, inputs = quantized(layer, x)
        assert sqnr(want, dequantize_outputs(integer, evaluate(integer, [inputs]))[0]) > 33


def test_kernels_are_exact(kit: Any) -> None:
    rng, chance = np.random.default_rng(0), Random(0)
    for shape in ((7,), (3, 5), (2, 3, 40), (2, 3, 4, 5), (1, 9, 3, 3), (2, 2, 2, 3, 6)):
        for axes in {1, 2, len(shape)} & set(range(1, len(shape) + 1)):
            layer = norm(shape[-axes:], eps=chance.choice([0.0, 1e-5, 10.0]))
            integer, _ = quantized(layer, torch.randn(shape) * chance.choice([1, 1e-3]))
            (node,) = integer.nodes
            constants = [integer.constants[name] for name in node.inputs[1:]]
            x = kit.bytes_of(rng, *shape)
            kit.holds(node.op, [x, *constants], 2, **node.attrs)
            kit.holds(node.op, [x // 200, *constants], 2, **node.attrs)


def test_what_is_said_of_the_numbers() -> None:
    """Sums, powers and products fit i32, whatever is normalized."""
    assert 255**2 * MOST < 2**31
    for count in (1, 2, 3, 64, 768, 8191, 16384, MOST):
        mult, shift = mean_of(count)
        assert abs(mult / 2**shift * count - 1) < 2**-30 and mult < 2**31 and shift >= 31
        for eps in (0.0, 1e-3, 1.0, 12.0, 1e3, 1e6, 1e12):
            h = head(count, eps)
            more = round(count * eps * 2.0**h)
            assert (127.5**2 + 1) * count * 2.0**h + more < 2**31
            assert reach(count, h, more) < 2**30
            assert more << 2 * room(h, more) >= 2**29 or h > 1
    for total in range(30):
        steps = list(halves(total))
        assert sum(steps) == total
        assert all(step <= sum(steps[at + 1 :]) + 1 for at, step in enumerate(steps))


def test_other_calibrations_give_kernels_of_one_form() -> None:
    keys = set()
    for scale in (0.7, 1.0, 1.9):
        integer, _ = quantized(norm(64), torch.randn(1, 8, 64) * scale)
        keys.add(lower(integer, integer.nodes[0]).key)
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("shape", "over", "most"),
    [((1, 64, 64), 64, 1600), ((1, 16, 12, 24), 24, 2300), ((8, 100), 100, 1100)],
)
def test_code_is_exact_and_of_vectors(shape: tuple[int, ...], over: Any, most: int) -> None:
    layer, x = norm(over), torch.randn(shape)
    tuned = compile_model(layer, (x,), [(x,)], executor=0)
    integer = tuned.ready.graph
    want = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, [x.numpy()])))
    np.testing.assert_array_equal(np.asarray(tuned(x)), want[0])
    (row,) = tuned.kernels
    assert row.bound <= row.cycles < most


def test_too_many_values_are_refused() -> None:
    with pytest.raises(
        QuantizationError,
        match=r"layer_norm layer_norm: squares must be summed in i32, so at most 32768 values may "
        r"be normalized together, but got 32769; normalize over fewer axes",
    ):
        quantized(nn.LayerNorm(MOST + 1), torch.randn(1, MOST + 1))


def test_weights_broadcast_to_the_input(kit: Any) -> None:
    x, words = np.zeros((2, 3), np.uint8), np.zeros(2, np.int32)
    with pytest.raises(GraphError, match="the shapes must broadcast, but got"):
        kit.graph_of("q_layer_norm", [x, words, words], 2, axes=1, span=1)
