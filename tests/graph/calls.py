"""A function as a model of one call, quantized: its bytes, and what they are worth.

assert worth(torch.atan, torch.randn(2, 3)) > 22
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Graph
from dovetail.graph.torch_import import import_model
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.quantize import quantize


class OneCall(nn.Module):
    """``function(*inputs, *known)``; what is known is part of the model."""

    def __init__(self, function: Callable[..., Any], *known: Any) -> None:
        super().__init__()
        self.function, self.count = function, len(known)
        for place, value in enumerate(known):
            if isinstance(value, nn.Module):
                self.add_module(f"known{place}", value.eval())
            else:
                self.register_buffer(f"known{place}", value)

    def forward(self, *inputs: Tensor) -> Any:
        known = (getattr(self, f"known{place}") for place in range(self.count))
        return self.function(*inputs, *known)


def integer(model: nn.Module, *inputs: Tensor) -> Graph:
    """The integer graph, its ranges those of the inputs."""
    graph = import_model(model, tuple(x.clone() for x in inputs))
    return quantize(graph, [[x.numpy() for x in inputs]])


def ops(function: Callable[..., Any], *inputs: Tensor, known: tuple[Any, ...] = ()) -> list[str]:
    """The operators of the integer graph."""
    return [node.op for node in integer(OneCall(function, *known), *inputs).nodes]


def worth(function: Callable[..., Any], *inputs: Tensor, known: tuple[Any, ...] = ()) -> float:
    """Signal to noise, in dB, of the worst output."""
    model = OneCall(function, *known).eval()
    graph = integer(model, *inputs)
    with torch.no_grad():
        want = model(*inputs)
    wanted = [want] if isinstance(want, Tensor) else list(want)
    came = dequantize_outputs(
        graph, evaluate(graph, quantize_inputs(graph, [x.numpy() for x in inputs]))
    )
    assert [tuple(w.shape) for w in wanted] == [c.shape for c in came]
    return min(float(sqnr(w.numpy(), c)) for w, c in zip(wanted, came, strict=True))


def compiled(function: Callable[..., Any], *inputs: Tensor, known: tuple[Any, ...] = ()) -> Any:
    """The compiled model, whose bytes are those of the exact evaluation."""
    tuned = compile_model(OneCall(function, *known).eval(), inputs, [inputs], executor=0)
    came, want = tuned(*inputs), tuned.reference(*inputs)
    many = isinstance(came, (tuple, list))
    for one, other in zip(came, want, strict=True) if many else [(came, want)]:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    return tuned
