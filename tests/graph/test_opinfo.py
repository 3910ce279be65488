"""Samples of torch's own operator tests: right, or refused by the operator's name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.common_methods_invocations import op_db

from dovetail.graph.errors import UnsupportedModel
from tests.graph.calls import worth

F = "nn.functional."
NAMES = [
    "abs", "exp", "square", "atan", "maximum", "minimum", "div", "sum", "mean", "var", "amax",
    "amin", "softmax", "log_softmax", "index_select", "flip", "roll", "repeat", "stack", "where",
    "masked_fill", F + "leaky_relu", F + "elu", F + "mish", F + "softplus", F + "hardshrink",
    F + "prelu", F + "glu", F + "layer_norm", F + "group_norm", F + "instance_norm", F + "rms_norm",
    F + "normalize", F + "scaled_dot_product_attention", F + "upsample_bilinear", F + "pad",
    F + "pixel_shuffle", F + "conv3d", F + "max_pool3d", F + "avg_pool3d", "baddbmm", "addcdiv",
    "linalg.vector_norm",
]  # fmt: skip
SAMPLES = 2  # of each operator
LEAST = 22.0  # dB


class SampleCall(nn.Module):
    """An operator with all but its first argument known."""

    def __init__(self, op: Any, args: Any, kwargs: Any) -> None:
        super().__init__()
        self.op, self.args, self.kwargs = op, args, kwargs

    def forward(self, x: Tensor) -> Any:
        return self.op(x, *self.args, **self.kwargs)


def samples(name: str) -> Iterator[tuple[SampleCall, Tensor]]:
    """Those of float tensors that have values, and give such."""
    for op in (op for op in op_db if op.name == name):
        torch.manual_seed(0)
        for sample in op.sample_inputs("cpu", torch.float32):  # type: ignore[no-untyped-call]
            x, call = sample.input, SampleCall(op.op, sample.args, sample.kwargs)
            if not isinstance(x, Tensor) or not x.numel() or x.dtype != torch.float32:
                continue
            made = call(x)
            if isinstance(made, Tensor) and made.numel() and made.isfinite().all():
                yield call, x.detach()


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_right_or_refused(name: str) -> None:
    for call, x in islice(samples(name), SAMPLES):
        try:
            assert worth(call, x) >= LEAST
        except UnsupportedModel as refusal:
            assert "aten." in str(refusal)
