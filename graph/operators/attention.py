"""Attention: two products and a softmax between them, perhaps by what a mask lets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..aten import scaled
from ..aten_mask import causal, compact, finite
from ..errors import Unsupported
from ..spec import Aten, Spec
from .softmax import softmax_of

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Shape, Value


def aten_attention(
    b: GraphBuilder,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Value:
    """softmax(query · keyᵀ · scale + mask) · value.

    Queries that share keys and values are rows of one product.
    """
    if dropout_p:
        raise Unsupported("with dropout")
    if is_causal and attn_mask is not None:
        raise Unsupported("with a mask that is causal, too")
    whole, shared = b.shape(query), b.shape(query)
    if enable_gqa and b.shape(key)[-3] != whole[-3]:
        heads = b.shape(key)[-3]
        shared = (*whole[:-3], heads, whole[-3] // heads * whole[-2], whole[-1])
    axes = list(range(len(b.shape(key))))
    axes[-1], axes[-2] = axes[-2], axes[-1]
    factor = scale if scale is not None else whole[-1] ** -0.5
    keys = b.emit("permute", key, axes=tuple(axes))
    scores = scaled(b, b.emit("matmul", b.reshape(query, shared), keys), factor)
    rows = b.shape(scores)
    split = (*rows[:-3], *whole[-3:-1], rows[-1]) if shared != whole else rows
    weights = _weights(b, b.reshape(scores, split), attn_mask, is_causal)
    made = b.emit("matmul", b.reshape(weights, rows), value)
    return b.reshape(made, b.result)


def _weights(b: GraphBuilder, scores: Value, mask: Value, is_causal: bool) -> Value:
    """The softmax of scores along the last axis."""
    import torch

    shape = b.shape(scores)
    axis = len(shape) - 1
    if is_causal:
        mask = causal(shape[-2:]).bool()
    truths = mask in b.truths if isinstance(mask, str) else _is_truth(mask)
    if mask is None:
        return softmax_of(b, scores, axis)
    if not truths:
        biased = b.emit("add", scores, finite(mask))
        return softmax_of(b, _of_shape(b, biased, shape), axis)
    if isinstance(mask, torch.Tensor):
        if mask.all():
            return softmax_of(b, scores, axis)
        mask = compact(mask.float())
    return b.emit("masked_softmax", scores, mask, axis=axis)


def _is_truth(mask: Value) -> bool:
    import torch

    return isinstance(mask, torch.Tensor) and mask.dtype == torch.bool


def _of_shape(b: GraphBuilder, x: Value, shape: Shape) -> Value:
    """``x``, which a mask of more axes made no greater."""
    if b.shape(x) != shape:
        raise Unsupported("with a mask that repeats the scores")
    return x


SPECS = (
    Spec(
        "attention",
        aten=(Aten(("scaled_dot_product_attention",), aten_attention, whole=True),),
    ),
)
