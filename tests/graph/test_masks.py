"""Attention by masks, and softmax behind masks as they are written: what no map has to hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovetail.graph.attributes import GraphError
from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.evaluate import evaluate
from dovetail.quant.affine import affine_of, dequantize_array, quantize_inputs
from tests.graph.calls import OneCall, compiled, integer, ops, worth

attention = F.scaled_dot_product_attention


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def kept(*shape: int) -> Tensor:
    found = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.4
    found[..., 0] = True
    return found


def projections(heads: int = 4, others: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (1, heads, 12, 16), (1, others, 12, 16), (1, others, 12, 16)
    query, key, value = (noise(*shape, seed=seed) for seed, shape in enumerate(shapes))
    return query, key, value


BIAS = noise(12, 12, seed=7)
MASKS: list[Tensor] = [
    kept(12, 12), kept(1, 1, 12, 12), kept(1, 4, 12, 12), torch.ones(12, 12, dtype=torch.bool),
    BIAS,    BIAS.masked_fill(~kept(12, 12), -math.inf), noise(1, 4, 12, 12),
    torch.where(kept(1, 1, 1, 12), 0.0, torch.finfo(torch.float32).min),
    torch.where(kept(12, 12), 0.0, -100.0),
]  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
def test_attention_by_a_known_mask(mask: Tensor) -> None:
    assert worth(lambda q, k, v, m: attention(q, k, v, m), *projections(), known=(mask,)) > 28


def test_attention_in_its_other_forms() -> None:
    q, k, v = projections()
    assert worth(lambda q, k, v: attention(q, k, v, is_causal=True), q, k, v) > 28
    assert worth(lambda q, k, v: attention(q, k, v, scale=0.7), q, k, v) > 28
    assert worth(lambda q, k, v, m: attention(q, k, v, m), q, k, v, noise(1, 1, 12, 12)) > 28
    shared = projections(8, 2)
    assert worth(lambda q, k, v: attention(q, k, v, enable_gqa=True), *shared) > 28
    grouped = lambda q, k, v: attention(q, k, v, is_causal=True, enable_gqa=True)  # noqa: E731
    assert worth(grouped, *shared) > 28
    computed = lambda q, k, v, m: attention(q, k, v, m > 0)  # noqa: E731
    assert worth(computed, q, k, v, noise(1, 1, 12, 12).sign()) > 28
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    causal = nn.Transformer.generate_square_subsequent_mask(12)
    assert worth(lambda x, m, c: m(x, src_mask=c), noise(1, 12, 16), known=(layer, causal)) > 28


WRITTEN: list[tuple[Callable[..., Any], Tensor]] = [
    (lambda x, m: x.masked_fill(~m, -math.inf).softmax(-1), kept(16, 16)),
    (lambda x, m: x.masked_fill(m == 0, -1e9).softmax(-1), kept(16, 16).float()),
    (lambda x, m: torch.where(m, x, torch.finfo(x.dtype).min).softmax(-1), kept(1, 1, 16, 16)),
    (lambda x, m: (x + m).softmax(-1), torch.where(kept(16, 16), 0.0, -math.inf)),
    (lambda x, m: (x + (1 - m) * -10000.0).softmax(-1), kept(1, 1, 1, 16).float()),
    (lambda x, m: (x.view(1, 2, 2, 16, 16) + m).view(2, 2, 16, 16).softmax(-1),
     torch.where(kept(1, 2, 1, 16, 16), 0.0, -100.0)),
    (lambda x, m: (x + m).masked_fill(m > 1, -1e9).softmax(-1), noise(16, 16)),
    (lambda x, m: (x + m).softmax(2), torch.where(kept(1, 1, 16, 16), 0.0, -1e9)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "mask"), WRITTEN)
def test_masks_as_they_are_written(function: Callable[..., Any], mask: Tensor) -> None:
    x = noise(2, 2, 16, 16)
    assert "q_masked_softmax" in ops(function, x, known=(mask,))
    assert worth(function, x, known=(mask,)) > 35


def test_a_bias_alone_is_no_mask() -> None:
    x = noise(1, 2, 16, 16)
    assert ops(lambda x, m: (x + m).softmax(-1), x, known=(noise(16, 16),)) == [
        "q_add",
        "q_softmax",
    ]


def test_bytes_are_those_of_the_float_operator() -> None:
    for length in (16, 64, 200):
        mask = kept(9, length)
        x = noise(2, 9, length) * 3
        graph = integer(OneCall(lambda x, m: x.masked_fill(~m, -1e9).softmax(-1), mask), x)
        (inputs,) = quantize_inputs(graph, [x.numpy()])
        (came,) = evaluate(graph, [inputs])
        real = torch.from_numpy(
            dequantize_array(inputs, affine_of(graph, graph.inputs[0]))
        ).double()
        of = affine_of(graph, graph.outputs[0])
        want = real.masked_fill(~mask, -math.inf).softmax(-1).numpy() / of.scale
        apart = np.abs(np.clip(np.rint(want), 0, 255) - came)
        assert (apart == 0).mean() >= 0.99 and apart.max() <= 1


def test_kernels_are_exact(kit: Any) -> None:
    rng = np.random.default_rng(0)
    table = np.rint(np.exp(-np.arange(256) * 0.05) * 2**15).astype(np.int32)
    for shape, mask, axis in (
        ((3, 5, 40), (5, 40), 2), ((1, 4, 8, 8), (1, 1, 8, 8), 3), ((2, 3, 4, 5), (2, 3, 4, 5), 1),
        ((7, 20), (20,), 1), ((9,), (9,), 0), ((2, 6, 33), (2, 1, 33), 2),
    ):  # fmt: skip
        x, m = kit.bytes_of(rng, *shape), kit.bytes_of(rng, *mask)
        for zero in (0, 127, 254):
            kit.holds("q_masked_softmax", [x, m, table], 1, axis=axis, shift=22, mask_zero=zero)


def test_masks_broadcast_to_scores(kit: Any) -> None:
    bytes_, table = np.zeros((2, 3), np.uint8), np.zeros(256, np.int32)
    with pytest.raises(GraphError, match="a mask broadcasts to what it masks, but got"):
        kit.graph_of("q_masked_softmax", [bytes_[:1], bytes_, table], 1, axis=1, shift=22)


def test_dropout_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"scaled_dot_product_attention \(with dropout\) x1"):
        integer(OneCall(lambda q, k, v: attention(q, k, v, dropout_p=0.1)), *projections())


def test_code_is_exact_and_of_vectors() -> None:
    mask = kept(1, 1, 32, 32)
    tuned = compiled(
        lambda x, m: x.masked_fill(~m, -1e9).softmax(-1), noise(1, 4, 32, 32), known=(mask,)
    )
    (row,) = tuned.kernels
    assert row.bound <= row.cycles < 3000
