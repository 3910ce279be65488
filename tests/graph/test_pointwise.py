"""Functions of one tensor are tables; comparisons, choices and quotients of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.evaluate import evaluate
from dovetail.graph.operators.div import BITS, MOST
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.errors import QuantizationError
from tests.graph.calls import OneCall, compiled, integer, ops, worth


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


ANY: list[Callable[..., Any]] = [
    torch.abs, torch.exp, torch.expm1, torch.square, torch.sin, torch.cos, torch.sinh, torch.cosh,
    torch.atan, torch.asinh, torch.erf, F.leaky_relu, F.elu, F.selu, F.celu, F.mish, F.softplus,
    F.softsign, F.logsigmoid, F.hardshrink, F.softshrink, F.tanhshrink, F.rrelu, torch.nan_to_num,
    lambda x: F.softplus(x, 2, 1), lambda x: F.elu(x, 0.7), lambda x: F.leaky_relu(x, 0.3),
    lambda x: F.threshold(x, 0.1, 20.0), lambda x: x**3, lambda x: 2**x, lambda x: x.clamp(min=0.1),
    lambda x: torch.where(x > 0, x, 0.1), lambda x: torch.where(x < 0.3, x, 2 * x),
    lambda x: x.masked_fill(x < 0, 0.5), lambda x: x * (x >= 0), lambda x: x * (x != 0),
    lambda x: x.maximum(torch.tensor(0.3)), lambda x: torch.where(torch.isnan(x), 0.0, x),
]  # fmt: skip
POSITIVE: list[Callable[..., Any]] = [
    torch.sqrt, torch.rsqrt, torch.log, torch.log2, torch.log10, torch.log1p, torch.reciprocal,
    torch.exp2, lambda x: x**0.5, lambda x: x**-1, lambda x: 1 / x, lambda x: x**0.25,
]  # fmt: skip
STEPS: list[Callable[..., Any]] = [
    torch.sign, torch.floor, torch.ceil, torch.trunc, torch.frac, lambda x: (x > 0.5).float(),
    lambda x: torch.remainder(x, 0.7), lambda x: torch.fmod(x, 0.7),
    lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    lambda x: torch.where((x > 0) & ~(x > 1) | (x < -1), x, -x),
    lambda x: torch.where((x > 0) ^ (x > 1), x, -x),
]  # fmt: skip


@pytest.mark.parametrize("function", ANY)
def test_functions_are_one_table(function: Callable[..., Any]) -> None:
    x = noise(1, 8, 9, 7)
    assert ops(function, x) == ["lookup"]
    assert worth(function, x) > 22


@pytest.mark.parametrize("function", POSITIVE)
def test_functions_have_the_domain_of_the_reals(function: Callable[..., Any]) -> None:
    x = noise(1, 8, 9, 7).abs() + 0.1
    assert ops(function, x) == ["lookup"]
    assert worth(function, x) > 30


@pytest.mark.parametrize("function", STEPS)
def test_steps_are_those_of_the_bytes(function: Callable[..., Any]) -> None:
    """Where a function jumps, half a step of the input is a jump of the result: on a grid it is
    exact up to the result's own map."""
    x = (torch.arange(-100, 101) * 0.025 + 0.0125).reshape(1, 201)
    assert ops(function, x) == ["lookup"]
    assert worth(function, x) > 14


def test_at_the_end_of_a_domain_values_saturate() -> None:
    x = torch.linspace(0, 4, 100)
    for function in (torch.log, torch.rsqrt, torch.reciprocal):
        graph = import_model(OneCall(lambda x, f=function: f(x.clamp(min=0.5))), (x,))
        assert [node.op for node in graph.nodes][-1] == function.__name__
    table = integer(OneCall(lambda x: torch.log(x + 0.1) + x), x).constants
    assert all(array.dtype == np.uint8 for array in table.values())


@pytest.mark.parametrize(
    ("function", "least"),
    [(torch.minimum, 35), (torch.maximum, 35), (lambda x, y: torch.lerp(x, y, 0.3), 35),
     (lambda x, y: torch.where(y > x, x, y), 33), (lambda x, y: x / (y.abs() + 0.5), 33),
     (lambda x, y: torch.clamp(x, min=y), 35), (lambda x, y: torch.clamp(x, -y.abs(), y.abs()), 33),
     (lambda x, y: torch.addcdiv(x, y, y.abs() + 1), 33), (torch.hypot, 35)],
)  # fmt: skip
def test_operators_of_two_tensors(function: Callable[..., Any], least: float) -> None:
    if function is torch.hypot:
        with pytest.raises(UnsupportedModel, match=r"aten.hypot x1"):
            worth(function, noise(4, 5), noise(4, 5))
        return
    for shapes in (((1, 8, 6, 6), (1, 8, 6, 6)), ((1, 5, 24), (1, 1, 24)), ((2, 3, 8), (2, 3, 1))):
        assert worth(function, noise(*shapes[0]), noise(*shapes[1]).flip(-1)) > least


def test_known_truths_choose() -> None:
    x, keep = noise(1, 12, 16), torch.rand(12, 16) > 0.4
    assert worth(lambda x, m: torch.where(m, x, 0.5), x, known=(keep,)) > 35
    assert worth(lambda x, m: x.masked_fill(m, -2.0), x, known=(keep,)) > 35
    assert worth(lambda x: x.tril(), noise(1, 12, 12)) > 35


def test_slopes_are_of_one_or_of_each_channel() -> None:
    for slopes in (
        torch.rand(6) * 0.9,
        torch.rand(6) + 1.0,
        torch.rand(6) * 2,
        torch.tensor([0.3]),
    ):
        layer = nn.PReLU(len(slopes))
        layer.weight.data = slopes
        for shape in ((2, 6, 5, 5), (3, 6)):
            assert worth(lambda x, m: m(x), noise(*shape), known=(layer,)) > 30


def test_quotients_are_exact_sums_of_their_formula(kit: Any) -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(-MOST, MOST + 1, 256).astype(np.int32)
    for shapes in (((1, 8, 6, 6), (1, 8, 6, 6)), ((3, 40), (3, 1)), ((2, 3, 4, 5), (1, 1, 4, 5))):
        a, b = (kit.bytes_of(rng, *shape) for shape in shapes)
        for a_zero, zero in ((0, 0), (128, 3), (255, 255)):
            numbers = {"a_zero": a_zero, "zero_point": zero, "low": 5, "high": 250}
            kit.holds("q_div", [a, b, table], 1, **numbers)
    assert 255 * MOST + (1 << (BITS - 1)) < 2**31


def test_quotients_by_zero_saturate() -> None:
    x, y = torch.tensor([1.0, -1.0, 0.0, 4.0]), torch.tensor([2.0, 2.0, 2.0, 2.0])
    graph = integer(OneCall(torch.div), x, y)
    got = quantize_inputs(graph, [x.numpy(), np.array([0, 0, 0, 2], np.float32)])
    (came,) = dequantize_outputs(graph, evaluate(graph, got))
    np.testing.assert_allclose(came, [2.0, -0.5, 0.0, 2.0], atol=0.02)


def test_choices_and_extremes_are_exact(kit: Any) -> None:
    rng = np.random.default_rng(0)
    for shapes in (
        ((1, 8, 6, 6),) * 3,
        ((3, 1), (3, 40), (1, 40)),
        ((2, 3, 4, 5), (1, 1, 4, 5), (1,)),
    ):
        c, a, b = (kit.bytes_of(rng, *shape) for shape in shapes)
        kit.holds("q_where", [c, a, b], c_zero=0)
        kit.holds("q_where", [c, a, b], c_zero=127)
        kit.holds("q_maximum", [a, b])
        kit.holds("q_minimum", [a, b])


def test_infinite_choices_are_refused() -> None:
    with pytest.raises(
        QuantizationError,
        match=r"where where: values must be finite where no softmax takes them out, but "
        r"where.constant.*is infinite; write the least value that scores may have",
    ):
        integer(OneCall(lambda x, y: torch.where(y > 0, x, -torch.inf)), noise(3, 4), noise(3, 4))


def test_truth_values_are_no_results() -> None:
    with pytest.raises(UnsupportedModel, match=r"must be a float32 tensor .* but gt is torch.bool"):
        import_model(OneCall(lambda x: x > 0), (noise(2, 3),))


def test_code_is_exact_and_of_vectors() -> None:
    x, y = noise(1, 32, 12, 12), noise(1, 32, 12, 12).flip(0)
    tuned = compiled(
        lambda x, y: torch.maximum(torch.where(x > 0, x, y), y) / (y.abs() + 0.5), x, y
    )
    for row in tuned.kernels:
        assert row.bound <= row.cycles < 2 * 32 * 144
