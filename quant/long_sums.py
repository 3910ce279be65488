"""Means over more elements than i32 can sum, as means of means, each with a range of its own.

    mean(x [3000, 3000], axes (0, 1))   ->  mean(mean(x, axes (1,)), axes (0, 1))
    mean(x [9000000], axes (0,))        ->  mean(cat(mean(x[:4500000]), mean(x[4500000:])))
    avg_pool2d(x, kernel (3000, 3000))  ->  avg_pool2d(avg_pool2d(x, (3000, 1)), (1, 3000))

Parts of one axis differ by an element in millions at most, so that their mean is the mean.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

from ..graph.attributes import integers, pads, pair
from ..graph.float_graph import infer
from ..graph.graph import Graph, Node, TensorType
from .errors import QuantizationError
from .fixed import INT32_MAX

LONGEST = INT32_MAX // 255  # elements of a sum of u8


def short_sums(graph: Graph) -> Graph:
    """``graph`` with means over more than ``LONGEST`` elements in parts; tensors keep names."""
    made = graph.without_nodes()
    for node in graph.nodes:
        if node.op == "mean":
            _mean(made, node)
        elif node.op == "avg_pool2d" and prod(pair(node, "kernel")) > LONGEST:
            _average(made, node)
        else:
            made.nodes.append(node)
    return made


def _append(made: Graph, node: Node, op: str, inputs: tuple[str, ...], **attrs: object) -> str:
    """A new tensor named after the node's."""
    name, count = f"{node.output}.part", 0
    while name in made.types:
        count += 1
        name = f"{node.output}.part{count}"
    shape = infer(op, [made.types[x].shape for x in inputs], attrs)
    made.nodes.append(Node(op, inputs, name, attrs, node.origin))
    made.types[name] = TensorType(shape)
    return name


def _mean(made: Graph, node: Node) -> None:
    (x,), axes = node.inputs, tuple(sorted(integers(node, "axes")))
    for axis in axes:
        x = _shortened(made, node, x, axis)
    while True:
        shape = made.types[x].shape
        part = _fitting(shape, axes)
        if prod(shape[axis] for axis in axes) <= LONGEST:
            break
        x = _append(made, node, "mean", (x,), axes=part, keepdim=True)
    made.nodes.append(replace(node, inputs=(x,)))


def _fitting(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes whose elements one sum can take."""
    part: list[int] = []
    for axis in reversed(axes):
        if prod(shape[a] for a in (*part, axis)) <= LONGEST:
            part.append(axis)
    return tuple(sorted(part))


def _shortened(made: Graph, node: Node, x: str, axis: int) -> str:
    """``x``, or the means of its parts along an axis that is too long by itself."""
    extent = made.types[x].shape[axis]
    count = -(-extent // LONGEST)
    if count == 1:
        return x
    parts = []
    for start, stop in pairwise(extent * i // count for i in range(count + 1)):
        cut = _append(made, node, "slice", (x,), axis=axis, start=start, stop=stop, step=1)
        parts.append(_append(made, node, "mean", (cut,), axes=(axis,), keepdim=True))
    return _append(made, node, "cat", tuple(parts), axis=axis)


def _average(made: Graph, node: Node) -> None:
    """Rows, then columns; a window that is the whole image is a mean."""
    (x,), shape = node.inputs, made.types[node.inputs[0]].shape
    kernel, attrs = pair(node, "kernel"), node.attrs
    divided = attrs["divisor"] in (None, prod(kernel))
    if kernel == shape[2:] and divided and not any(map(sum, pads(node))):
        return _mean(made, replace(node, op="mean", attrs={"axes": (2, 3), "keepdim": True}))
    if max(kernel) > LONGEST:
        raise QuantizationError(
            f"avg_pool2d {node.output}: a window may have at most {LONGEST} rows and columns "
            f"unless it is the whole image, but it has {kernel}; use a mean over parts"
        )
    counted = attrs["divisor"] is None and not attrs["count_include_pad"]
    first = _half(node, 0) | {"divisor": None if counted else 1}
    second = _half(node, 1)
    if not counted:
        second["divisor"] = attrs["divisor"] or prod(kernel)
    x = _append(made, node, "avg_pool2d", (x,), **first)
    made.nodes.append(replace(node, inputs=(x,), attrs=second))


def _half(node: Node, axis: int) -> dict[str, Any]:
    """The pool's attributes along one axis only."""

    def only(values: Any, filler: Any) -> tuple[Any, Any]:
        return (values[0], filler) if axis == 0 else (filler, values[1])

    kernel, stride = pair(node, "kernel"), pair(node, "stride")
    own = {"kernel": only(kernel, 1), "stride": only(stride, 1)}
    return {**node.attrs, **own, "padding": only(pads(node), (0, 0))}
