"""How each ATen operator becomes operators of ours: one function a row, parameters by ATen's names.

A lowering gets the builder and the arguments of the call, tensors as values (see ``build.py``), and
returns the value of its result. Where it cannot keep the meaning it raises ``Unsupported``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .build import Builder, Unsupported, Value

Lowering = Callable[..., Value]
Pair = tuple[int, int]

LOWERINGS: dict[str, Lowering] = {}


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter a lowering under the ATen names, with or without an overload."""

    def enter(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return enter


def find(name: str) -> Lowering | None:
    """The row for ``conv2d.padding``: its own, or that of all overloads of ``conv2d``."""
    return LOWERINGS.get(name) or LOWERINGS.get(name.split(".")[0])


def axis_of(b: Builder, x: Value, dim: int) -> int:
    """``dim`` counted from the front."""
    return dim % max(len(b.shape(x)), 1)


def pair(value: int | Sequence[int]) -> Pair:
    """One or two numbers as two."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def spatial(value: int | Sequence[int], filler: int, one_dimensional: bool) -> Pair:
    """A 1-d parameter as that of an image of height 1."""
    return (filler, pair(value)[1]) if one_dimensional else pair(value)


def known(value: Value, what: str) -> Any:
    """A tensor whose content must be known at import."""
    if value is None or not isinstance(value, (str, tuple)):
        return value
    raise Unsupported(f"{what} computed at run time")


def image(b: Builder, x: Value, one_dimensional: bool) -> Value:
    """``x`` as (n, c, h, w): a batch axis where there is none, height 1 for a sequence."""
    shape = b.shape(x)
    if len(shape) == (2 if one_dimensional else 3):
        shape = (1, *shape)
    return b.reshape(x, (*shape[:2], 1, shape[2]) if one_dimensional else shape)


# Convolution and products.


@lowers("conv1d", "conv2d")
def conv(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Value:
    kernel = known(weight, "a weight")
    bias = known(bias, "a bias")
    flat = kernel.ndim == 3
    if kernel.ndim > 4:
        raise Unsupported("only 1-d and 2-d convolution")
    steps, window = spatial(dilation, 1, flat), spatial(kernel.shape[2:], 1, flat)
    if isinstance(padding, str):
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(steps, window, strict=True)
        ]
        pads = tuple((t // 2, t - t // 2) for t in total)
    else:
        pads = tuple((p, p) for p in spatial(padding, 0, flat))
    if flat:
        kernel = b.label(kernel.unsqueeze(2), b.label_of(kernel))
    y = b.emit(
        "conv2d",
        image(b, input, flat),
        kernel,
        *([] if bias is None else [bias]),
        stride=spatial(stride, 1, flat),
        padding=pads,
        dilation=steps,
        groups=groups,
    )
    return b.reshape(y, b.result)


@lowers("convolution")
def convolution(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Value:
    if transposed:
        raise Unsupported("transposed")
    return conv(b, input, weight, bias, stride, padding, dilation, groups)


@lowers("linear")
def linear(b: Builder, input: Value, weight: Value, bias: Value) -> Value:
    if not isinstance(weight, str) and not isinstance(bias, str):
        shape = b.shape(input)  # of an image the last axis is not the innermost stored one
        rows = b.reshape(input, (math.prod(shape[:-1]), shape[-1])) if len(shape) == 4 else input
        y = b.emit("linear", rows, weight, *([] if bias is None else [bias]))
        return b.reshape(y, b.result)
    product = matmul(b, input, b.emit("permute", weight, axes=(1, 0)))
    return product if bias is None else b.emit("add", product, bias)


@lowers("addmm")
def addmm(b: Builder, self: Value, mat1: Value, mat2: Value, beta: float, alpha: float) -> Value:
    product = scaled(b, b.emit("matmul", mat1, mat2), alpha)
    return b.emit("add", product, scaled(b, self, beta))


@lowers("mm", "bmm")
def mm(b: Builder, self: Value, mat2: Value) -> Value:
    return b.emit("matmul", self, mat2)


@lowers("matmul")
def matmul(b: Builder, self: Value, other: Value) -> Value:
    """A vector is a matrix of one row, or of one column, for the time of the product."""
    left, right = b.shape(self), b.shape(other)
    rows = b.reshape(self, (1, *left)) if len(left) == 1 else self
    columns = b.reshape(other, (*right, 1)) if len(right) == 1 else other
    return b.reshape(b.emit("matmul", rows, columns), b.result)


@lowers("scaled_dot_product_attention")
def attention(
    b: Builder,
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


@lowers("_native_batch_norm_legit_no_training")
def batch_norm(
    b: Builder,
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


@lowers("_native_batch_norm_legit", "_native_batch_norm_legit_functional")
def batch_statistics(b: Builder, **_: object) -> Value:
    raise Unsupported("in training form, by the statistics of its input")


# Arithmetic.


def operand(b: Builder, value: Value | float) -> Value:
    """A number as a constant of shape ()."""
    return b.scalar(value) if isinstance(value, (int, float)) else value


def scaled(b: Builder, x: Value, factor: float) -> Value:
    """``x * factor``; ``x`` itself where the factor is 1."""
    return x if factor == 1 else b.emit("mul", x, b.scalar(factor))


@lowers("add")
def add(b: Builder, self: Value, other: Value | float, alpha: float) -> Value:
    return b.emit("add", operand(b, self), scaled(b, operand(b, other), alpha))


@lowers("sub")
def sub(b: Builder, self: Value, other: Value | float, alpha: float) -> Value:
    return b.emit("sub", operand(b, self), scaled(b, operand(b, other), alpha))


@lowers("rsub")
def rsub(b: Builder, self: Value, other: Value | float, alpha: float) -> Value:
    return b.emit("sub", operand(b, other), scaled(b, self, alpha))


@lowers("mul")
def mul(b: Builder, self: Value, other: Value | float) -> Value:
    return b.emit("mul", operand(b, self), operand(b, other))


@lowers("div.Tensor", "div.Scalar")
def div(b: Builder, self: Value, other: Value | float) -> Value:
    """The divisor must be known: a product with its reciprocal."""
    divisor = known(operand(b, other), "a divisor")
    return b.emit("mul", operand(b, self), 1.0 / divisor.double())


@lowers("pow.Tensor_Scalar")
def power(b: Builder, self: Value, exponent: float) -> Value:
    if exponent != 2:
        raise Unsupported(f"exponent {exponent}")
    return b.emit("mul", self, self)


@lowers("hardtanh")
def hardtanh(b: Builder, self: Value, min_val: float, max_val: float) -> Value:
    return clamp(b, self, min_val, max_val)


@lowers("clamp.default", "clip.default")
def clamp(b: Builder, self: Value, min: float | None, max: float | None) -> Value:
    low = -math.inf if min is None else float(min)
    return b.emit("clamp", self, low=low, high=math.inf if max is None else float(max))


@lowers("clamp_min.default")
def clamp_min(b: Builder, self: Value, min: float) -> Value:
    return clamp(b, self, min, None)


@lowers("clamp_max.default")
def clamp_max(b: Builder, self: Value, max: float) -> Value:
    return clamp(b, self, None, max)


@lowers("relu6")
def relu6(b: Builder, self: Value) -> Value:
    return clamp(b, self, 0, 6)


@lowers("gelu")
def gelu(b: Builder, self: Value, approximate: str) -> Value:
    return b.emit("gelu", self, approximate=approximate)


def _unary(op: str) -> None:
    lowers(op)(lambda b, self: b.emit(op, self))


for _op in ("neg", "relu", "sigmoid", "hardsigmoid", "hardswish", "silu", "tanh"):
    _unary(_op)


@lowers("softmax", "_softmax")
def softmax(b: Builder, self: Value, dim: int, **_: object) -> Value:
    if not b.shape(self):  # the one value of a tensor without axes
        return b.reshape(b.emit("softmax", b.reshape(self, (1,)), axis=0), ())
    return b.emit("softmax", self, axis=axis_of(b, self, dim))


@lowers("mean")
def mean(
    b: Builder, self: Value, dim: Sequence[int] | None = None, keepdim: bool = False, **_: object
) -> Value:
    if not b.shape(self):
        return self
    axes = sorted({axis_of(b, self, d) for d in dim or range(len(b.shape(self)))})
    return b.emit("mean", self, axes=tuple(axes), keepdim=keepdim)
