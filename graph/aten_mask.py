"""Known masks before a softmax: what they take out is no number that a map would have to hold.

    softmax(x + mask)                      mask: 0, and -inf or -1e9 where an element is taken out
    softmax(where(keep, x, -1e9))
        ->  masked_softmax(x, keep)

A bias that also has other numbers stays, without those that are too small for a softmax to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .graph import Node
    from .graph_builder import GraphBuilder, Shape, Value

LARGEST = 3.4e38  # stands for infinity in constants, which are finite
FAR = 64.0  # below the greatest of its row, a number adds exp(-64) to the sum of a softmax
LOW = -1000.0  # what is written in place of scores to take them out


def finite(value: Value) -> Value:
    """A known tensor with large numbers in place of infinities."""
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    if value.isfinite().all():
        return value
    return value.clamp(-LARGEST, LARGEST)  # NaN stays, and is refused


def unmasked(b: GraphBuilder, x: Value, axis: int) -> tuple[Value, Value]:
    """``x`` without the known masks before it that a softmax along ``axis`` obeys, and what they
    let through: 1 for each element that takes part, None for all."""
    kept: Value = None
    while (found := _one_mask(b, x, axis)) is not None:
        x, mask = found
        kept = mask if kept is None else _both(b, kept, mask)
    return x, kept


def _both(b: GraphBuilder, one: Value, other: Value) -> Value:
    if isinstance(one, str) or isinstance(other, str):
        return b.emit("mul", one, other)
    return one * other  # type: ignore[operator]


def _one_mask(b: GraphBuilder, x: Value, axis: int) -> tuple[Value, Value] | None:
    shape, made = b.shape(x), b.made.get(x) if isinstance(x, str) else None
    if made is not None and made.op == "reshape":
        before = b.shape(made.inputs[0])
        last = axis == len(shape) - 1 and before and before[-1] == shape[-1]
        found = _one_mask(b, made.inputs[0], len(before) - 1) if last else None
        if found is None or isinstance(found[1], str):
            return None
        mask = found[1].expand(before).reshape(shape)  # type: ignore[union-attr]
        return b.reshape(found[0], shape), compact(mask)
    if made is not None and made.op == "add":
        return _biased(b, made, axis - len(shape))
    return _chosen(b, made) if made is not None and made.op == "where" else None


def _biased(b: GraphBuilder, made: Node, axis: int) -> tuple[Value, Value] | None:
    """A sum with a known bias; ``axis`` counts from the end."""
    for x, other in (made.inputs, made.inputs[::-1]):
        bias = b.known(other)
        if bias is None or x in b.graph.constants or bias.ndim < -axis:
            continue
        away = bias < bias.amax(axis, keepdim=True).clamp(min=-LARGEST / 2) - FAR
        if not away.any() or b.shape(x) != b.shape(made.output):
            return None
        rest = bias.masked_fill(away, 0)
        return (b.emit("add", x, rest) if rest.any() else x), compact((~away).float())
    return None


def _chosen(b: GraphBuilder, made: Node) -> tuple[Value, Value] | None:
    """What a truth value chooses between scores and a number that takes them out."""
    condition, yes, no = made.inputs
    for x, other, kept in ((yes, no, True), (no, yes, False)):
        number = b.known(other)
        if number is None or number.max() > LOW or b.shape(x) != b.shape(made.output):
            continue
        known = b.known(condition)
        if known is not None:
            return x, compact((known != 0).float() if kept else (known == 0).float())
        return x, condition if kept else b.emit("sub", b.scalar(1), condition)
    return None


def compact(mask: Tensor) -> Tensor:
    """A mask with extent 1 along each axis along which it repeats."""
    for axis, extent in enumerate(mask.shape):
        first = mask.narrow(axis, 0, 1)
        if extent > 1 and bool((mask == first).all()):
            mask = first
    return mask.contiguous()


def causal(shape: Shape) -> Tensor:
    """What row i of (rows, columns) may see: columns 0 to i."""
    import torch

    return torch.ones(shape).tril()
