"""Batch norm by known statistics: a product and a sum, which folding puts into weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..aten import known
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value


def aten_batch_norm(
    b: GraphBuilder,
    input: Value,
    weight: Value,
    bias: Value,
    running_mean: Value,
    running_var: Value,
    momentum: float,
    eps: float,
) -> Value:
    """A product and a sum with one number for each channel; folding puts them into the weights."""
    mean, variance = known(running_mean, "a mean").double(), known(running_var, "a variance")
    scale = (variance.double() + eps) ** -0.5
    if weight is not None:
        scale = scale * known(weight, "a weight").double()
    shift = -mean * scale
    if bias is not None:
        shift = shift + known(bias, "a bias").double()
    shape = (-1, *[1] * (len(b.shape(input)) - 2))
    factor = b.label(scale.reshape(shape).float(), f"{b.base}.scale")
    term = b.label(shift.reshape(shape).float(), f"{b.base}.shift")
    return (b.emit("add", b.emit("mul", input, factor), term), None, None)


def aten_batch_statistics(b: GraphBuilder, **_: object) -> Value:
    raise Unsupported("in training form, by the statistics of its input")


PUBLIC = "batch_norm"
SPECS = (
    Spec(
        "batch_norm",
        aten=(
            Aten(("_native_batch_norm_legit_no_training",), aten_batch_norm, public=PUBLIC),
            Aten(
                ("_native_batch_norm_legit", "_native_batch_norm_legit_functional"),
                aten_batch_statistics,
                public=PUBLIC,
            ),
        ),
    ),
)
