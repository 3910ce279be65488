"""Group, instance and rms norms: bytes of the float operator, as modules and as written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovetail.graph.evaluate import evaluate
from dovetail.quant.affine import affine_of, dequantize_array, quantize_inputs
from tests.graph.calls import OneCall, compiled, integer, ops, worth


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trained(layer: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for name, numbers in layer.named_parameters():
        numbers.data.normal_(1 if name == "weight" else 0, 0.5)
    return layer


NORMS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.GroupNorm(4, 32), (1, 32, 9, 11)), (nn.GroupNorm(1, 24), (2, 24, 6, 6)),
    (nn.GroupNorm(4, 32), (2, 32, 5, 7)), (nn.GroupNorm(8, 8), (1, 8, 12, 12)),
    (nn.GroupNorm(2, 8), (3, 8, 20)), (nn.GroupNorm(4, 32), (5, 32)),
    (nn.GroupNorm(2, 8), (1, 8, 3, 4, 5)),
    (nn.InstanceNorm2d(12, affine=True), (2, 12, 9, 7)), (nn.InstanceNorm1d(6), (1, 6, 40)),
    (nn.RMSNorm(48), (1, 9, 48)), (nn.RMSNorm((6, 8), eps=1e-3), (2, 3, 6, 8)),
    (nn.RMSNorm(24, elementwise_affine=False), (2, 4, 5, 24)), (nn.RMSNorm(700), (3, 700)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), NORMS)
def test_bytes_are_those_of_the_float_operator(layer: nn.Module, shape: tuple[int, ...]) -> None:
    trained(layer).eval()
    for x in (
        noise(*shape),
        noise(*shape) * 1e-3 + 1e-3,
        noise(*shape).abs() * 7,
        noise(*shape) - 5,
    ):
        graph = integer(OneCall(lambda x, m: m(x), layer), x)
        (inputs,) = quantize_inputs(graph, [x.numpy()])
        (came,) = evaluate(graph, [inputs])
        real = torch.from_numpy(dequantize_array(inputs, affine_of(graph, graph.inputs[0])))
        of = affine_of(graph, graph.outputs[0])
        layer.eps = torch.finfo(torch.float32).eps if layer.eps is None else layer.eps
        want = layer.double()(real.double()).detach().numpy() / of.scale + of.zero_point
        layer.float()
        apart = np.abs(np.clip(np.rint(want), 0, 255) - came)
        assert (apart == 0).mean() >= 0.99 and apart.max() <= 1


WEIGHT = noise(32, seed=3).abs() + 0.5
WRITTEN: list[Callable[..., Any]] = [
    lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    lambda x, w: x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w,
    lambda x, w: (x * (x.square().mean(-1, keepdim=True) + 1e-6).pow(-0.5)) * (1 + w),
    lambda x, w: F.normalize(x, dim=-1) * w,
    lambda x, w: F.normalize(x, dim=1),
    lambda x, w: x / x.norm(dim=-1, keepdim=True),
    lambda x, w: (x - x.mean(-1, keepdim=True))
    / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt(),
    lambda x, w: (x - x.mean(1, keepdim=True))
    / torch.sqrt((x - x.mean(1, keepdim=True)).pow(2).mean(1, keepdim=True) + 1e-6) * w,
    lambda x, w: F.layer_norm(x, (32,)) * w,
]  # fmt: skip


@pytest.mark.parametrize("function", WRITTEN)
def test_norms_as_they_are_written(function: Callable[..., Any]) -> None:
    x = noise(2, 12, 32)
    found = ops(function, x, known=(WEIGHT,))
    assert [op for op in found if op != "permute"] == ["q_layer_norm"]
    assert worth(function, x, known=(WEIGHT,)) > 33


def test_what_is_no_norm_stays() -> None:
    x, y = noise(2, 4, 32), noise(2, 4, 32, seed=1)
    other = lambda x, y: x * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 0.1)  # noqa: E731
    assert "q_layer_norm" not in ops(other, x, y)
    assert worth(other, x, y) > 30
    last = lambda x: x * torch.rsqrt(x.pow(2).mean(-2, keepdim=True) + 0.1)  # noqa: E731
    assert worth(last, x) > 30


def test_a_norm_by_stored_statistics_is_a_batch_norm() -> None:
    layer = nn.InstanceNorm2d(6, affine=True, track_running_stats=True)
    layer(noise(4, 6, 5, 5))
    assert "q_layer_norm" not in ops(lambda x, m: m(x), noise(1, 6, 5, 5), known=(layer.eval(),))


def test_kernels_are_exact(kit: Any) -> None:
    rng = np.random.default_rng(0)
    for layer, shape in NORMS[:7:2] + NORMS[7:12]:
        graph = integer(OneCall(lambda x, m: m(x), trained(layer).eval()), noise(*shape))
        node = next(node for node in graph.nodes if node.op == "q_layer_norm")
        constants = [graph.constants[name] for name in node.inputs[1:]]
        x = kit.bytes_of(rng, *graph.types[node.output].shape)
        kit.holds(node.op, [x, *constants], 2, **node.attrs)
        kit.holds(node.op, [x // 200, *constants], 2, **node.attrs)


def test_code_is_exact_and_of_vectors() -> None:
    for layer, shape in ((nn.GroupNorm(4, 64), (1, 64, 16, 16)), (nn.RMSNorm(128), (1, 32, 128))):
        tuned = compiled(lambda x, m: m(x), noise(*shape), known=(layer,))
        for row in tuned.kernels:
            assert row.bound <= row.cycles < np.prod(shape) / 2
