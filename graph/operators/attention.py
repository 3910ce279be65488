"""Attention: two products and a softmax between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..aten import scaled
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value


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
    """softmax(query · keyᵀ · scale) · value."""
    if attn_mask is not None or is_causal or dropout_p or enable_gqa:
        raise Unsupported("with a mask, dropout or grouped queries")
    axes = list(range(len(b.shape(key))))
    axes[-1], axes[-2] = axes[-2], axes[-1]
    factor = scale if scale is not None else b.shape(query)[-1] ** -0.5
    scores = scaled(b, b.emit("matmul", query, b.emit("permute", key, axes=tuple(axes))), factor)
    return b.emit("matmul", b.emit("softmax", scores, axis=len(b.shape(scores)) - 1), value)


SPECS = (
    Spec(
        "attention",
        aten=(Aten(("scaled_dot_product_attention",), aten_attention, whole=True),),
    ),
)
