"""Zoo networks keep their accuracy in int8 (beside ONNX Runtime: benchmarks/accuracy.py)."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dovetail.driver.zoo import build, calibration
from dovetail.driver.zoo.digits import load_digits
from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Array, Graph
from dovetail.graph.integer import macs
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.quantize import quantize


def quantized(name: str) -> tuple[Graph, Graph, list[list[Array]]]:
    """The float graph, the integer graph, and fresh batches."""
    graph = import_model(*build(name))
    batches = [[tensor.numpy() for tensor in batch] for batch in calibration(name, 10)]
    return graph, quantize(graph, batches[:8]), batches[8:]


def run(integer: Graph, batch: list[Array]) -> Array:
    return dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))[0]


def test_digits_lose_at_most_half_a_point() -> None:
    graph, integer, _ = quantized("digits")
    data = load_digits()
    images = [[image[None]] for image in data.held_images.numpy()]
    hits = [
        np.mean([answer(image).argmax() for image in images] == data.held_labels.numpy())
        for answer in (lambda x: evaluate_float(graph, x)[0], lambda x: run(integer, x))
    ]
    assert hits[0] - hits[1] <= 0.005


@pytest.mark.parametrize(("name", "least"), [("resnet8", 33), ("dscnn", 33), ("resnet18", 31)])
def test_outputs_are_near(name: str, least: float) -> None:
    graph, integer, fresh = quantized(name)
    real = np.stack([evaluate_float(graph, batch)[0] for batch in fresh])
    start = time.perf_counter()
    came = np.stack([run(integer, batch) for batch in fresh])
    assert (time.perf_counter() - start) / len(fresh) < 10
    assert sqnr(real, came) >= least


def test_every_multiply_of_resnet18_is_counted() -> None:
    """Products that touch data: an image of ones under a window of ones counts them."""
    module, inputs = build("resnet18")
    counted = [0]

    def count(layer: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            ones = torch.ones(1, 1, *given[0].shape[2:], dtype=torch.float64)
            window = torch.ones(1, 1, *layer.weight.shape[2:], dtype=torch.float64)
            touched = F.conv2d(ones, window, None, layer.stride, layer.padding)
            counted[0] += int(touched.sum()) * layer.in_channels * layer.out_channels
        elif isinstance(layer, nn.Linear):
            counted[0] += layer.in_features * layer.out_features

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    (batch,) = calibration("resnet18", 1)
    integer = quantize(import_model(module, inputs), [[tensor.numpy() for tensor in batch]])
    assert sum(macs(integer, node) for node in integer.nodes) == counted[0] == 1_680_390_912
