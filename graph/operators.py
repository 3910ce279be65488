"""The float operators: one function a row, its body the meaning, in PyTorch's logical shapes.

A row's positional parameters are the operator's tensor inputs, its keyword-only parameters the
attributes, its docstring what both mean. ``torch`` comes in as the first argument, so that this
file can be read without loading it. Shapes are inferred by running the row on meta tensors:

    infer("conv2d", [(1, 3, 8, 8), (4, 3, 3, 3)], conv_attrs)    # -> (1, 4, 6, 6)
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedModel
from .graph import Graph, Node

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))
NO_PADDING: Padding = ((0, 0), (0, 0))


@dataclass(frozen=True, slots=True)
class Operator:
    """``function(torch, *tensors, **attrs)`` is the meaning; pointwise: of one value at a time."""

    name: str
    function: Callable[..., Any]
    attrs: frozenset[str]
    pointwise: bool


OPERATORS: dict[str, Operator] = {}


def row(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter ``function`` into the table under its name."""
    kinds = inspect.signature(function).parameters.values()
    attrs = frozenset(p.name for p in kinds if p.kind is p.KEYWORD_ONLY)
    OPERATORS[function.__name__] = Operator(function.__name__, function, attrs, False)
    return function


def pointwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function of single values; an integer graph makes a table of it."""
    row(function)
    made = OPERATORS[function.__name__]
    OPERATORS[function.__name__] = Operator(made.name, made.function, made.attrs, True)
    return function


def evaluate(op: str, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> Tensor:
    """The value of ``op`` on torch tensors."""
    import torch

    result: Tensor = OPERATORS[op].function(torch, *inputs, **attrs)
    return result


def infer(
    op: str, shapes: Sequence[tuple[int, ...]], attrs: Mapping[str, object]
) -> tuple[int, ...]:
    """The shape of ``op``'s result."""
    import torch

    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    return tuple(evaluate(op, inputs, attrs).shape)


def verify(graph: Graph) -> None:
    """Check a float graph: known operators, their attributes, defined inputs, inferred shapes."""
    known = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        _verify_node(graph, node, known)
        known.add(node.output)
    for name in graph.outputs:
        if name not in known:
            raise UnsupportedModel(f"verify: an output must be defined, but {name} is not")


def _verify_node(graph: Graph, node: Node, known: set[str]) -> None:
    operator = OPERATORS.get(node.op)
    if operator is None:
        raise UnsupportedModel(f"verify: {node.output} has the unknown operator {node.op}")
    if frozenset(node.attrs) != operator.attrs:
        raise UnsupportedModel(
            f"verify: {node.op} takes the attributes {sorted(operator.attrs)}, "
            f"but {node.output} has {sorted(node.attrs)}"
        )
    if missing := [name for name in node.inputs if name not in known]:
        raise UnsupportedModel(f"verify: {node.output} reads {missing[0]} before it is defined")
    shape = infer(node.op, [graph.types[name].shape for name in node.inputs], node.attrs)
    if shape != graph.types[node.output].shape:
        raise UnsupportedModel(
            f"verify: {node.output} has the shape {graph.types[node.output].shape}, "
            f"but {node.op} makes {shape}"
        )


# Convolution and products.


@row
def conv2d(
    torch: Any,
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Any:
    """x (n, c, h, w) with w (o, c / groups, kh, kw) and b (o,); padded with zeros."""
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right):
        x, top, left = _pad(torch, x, padding, 0.0), 0, 0
    return torch.nn.functional.conv2d(x, w, b, stride, (top, left), dilation, groups)


@row
def linear(torch: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Any:
    """x (..., k) times w (n, k) transposed, plus b (n,)."""
    return torch.nn.functional.linear(x, w, b)


@row
def matmul(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a (..., m, k) times b (..., k, n); leading axes broadcast."""
    return torch.matmul(a, b)


# Arithmetic with broadcasting.


@row
def add(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a + b."""
    return a + b


@row
def sub(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a - b."""
    return a - b


@row
def mul(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a * b."""
    return a * b


# Functions of one value.


@pointwise
def neg(torch: Any, x: Tensor) -> Any:
    """-x."""
    return -x


@pointwise
def relu(torch: Any, x: Tensor) -> Any:
    """max(x, 0)."""
    return torch.relu(x)


@pointwise
def clamp(torch: Any, x: Tensor, *, low: float, high: float) -> Any:
    """min(max(x, low), high); a missing bound is an infinity."""
    return torch.clamp(x, low, high)


@pointwise
def sigmoid(torch: Any, x: Tensor) -> Any:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@pointwise
def hardsigmoid(torch: Any, x: Tensor) -> Any:
    """clamp(x + 3, 0, 6) / 6."""
    return torch.nn.functional.hardsigmoid(x)


@pointwise
def hardswish(torch: Any, x: Tensor) -> Any:
    """x * clamp(x + 3, 0, 6) / 6."""
    return torch.nn.functional.hardswish(x)


@pointwise
def silu(torch: Any, x: Tensor) -> Any:
    """x * sigmoid(x)."""
    return torch.nn.functional.silu(x)


@pointwise
def gelu(torch: Any, x: Tensor, *, approximate: str) -> Any:
    """x * Phi(x), exact (``none``) or by the formula with ``tanh``."""
    return torch.nn.functional.gelu(x, approximate=approximate)


@pointwise
def tanh(torch: Any, x: Tensor) -> Any:
    """The hyperbolic tangent."""
    return torch.tanh(x)


# Pooling and reduction.


@row
def max_pool2d(
    torch: Any, x: Tensor, *, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Any:
    """The maximum of each window; padding never wins."""
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right) or 2 * top > kernel[0] or 2 * left > kernel[1]:
        x, top, left = _pad(torch, x, padding, float("-inf")), 0, 0
    return torch.nn.functional.max_pool2d(x, kernel, stride, (top, left), dilation)


@row
def avg_pool2d(
    torch: Any,
    x: Tensor,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Each window's sum by ``divisor``; by its size; or, without padding, by its real elements."""
    total = _window_sum(torch, _pad(torch, x, padding, 0.0), kernel, stride)
    if divisor is None and not count_include_pad:
        ones = torch.ones_like(x[:1, :1])
        return total / _window_sum(torch, _pad(torch, ones, padding, 0.0), kernel, stride)
    return total / (kernel[0] * kernel[1] if divisor is None else divisor)


@row
def mean(torch: Any, x: Tensor, *, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The mean over ``axes``, which are removed or kept with extent 1."""
    return torch.mean(x, axes, keepdim)


@row
def softmax(torch: Any, x: Tensor, *, axis: int) -> Any:
    """exp(x) over its sum along ``axis``."""
    return torch.softmax(x, axis)


# Movement of data.


@row
def cat(torch: Any, *xs: Tensor, axis: int) -> Any:
    """The inputs one after the other along ``axis``."""
    return torch.cat(xs, axis)


@row
def pad(torch: Any, x: Tensor, *, pads: tuple[Pair, ...], value: float) -> Any:
    """``pads`` has (before, after) for each axis, none negative; new elements are ``value``."""
    return _pad(torch, x, pads, value)


@row
def slice(torch: Any, x: Tensor, *, axis: int, start: int, stop: int, step: int) -> Any:
    """Elements start, start + step, ... below stop of ``axis``; 0 <= start < stop <= extent."""
    return x[(*[builtins.slice(None)] * axis, builtins.slice(start, stop, step))]


@row
def reshape(torch: Any, x: Tensor, *, shape: tuple[int, ...]) -> Any:
    """The same elements in row-major order under another shape."""
    return x.reshape(shape)


@row
def permute(torch: Any, x: Tensor, *, axes: tuple[int, ...]) -> Any:
    """Axis i of the result is axis ``axes[i]`` of x."""
    return x.permute(axes)


@row
def expand(torch: Any, x: Tensor, *, shape: tuple[int, ...]) -> Any:
    """Axes of extent 1, and new leading ones, repeated up to ``shape``."""
    return x.expand(shape)


def _pad(torch: Any, x: Tensor, pads: Sequence[Pair], value: float) -> Tensor:
    flat = [amount for pair in reversed(pads) for amount in pair]
    padded: Tensor = torch.nn.functional.pad(x, flat, value=value) if any(flat) else x
    return padded


def _window_sum(torch: Any, x: Tensor, kernel: Pair, stride: Pair) -> Tensor:
    total: Tensor = torch.nn.functional.avg_pool2d(x, kernel, stride, divisor_override=1)
    return total
