"""Small kernels of every kind with random shapes, weights and numbers, for fidelity.py.

CASES["conv2d"](np.random.default_rng(0))     # an integer graph of one node
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dovetail.driver.prepare import one_node
from dovetail.graph.attributes import requant_of
from dovetail.graph.fuse import fuse
from dovetail.graph.graph import Array, Graph, Node, Requant, TensorType
from dovetail.graph.integer import infer_shape, verify
from dovetail.graph.torch_import import import_model
from dovetail.quant.quantize import quantize

Random = np.random.Generator
Shape = tuple[int, ...]
Make = Callable[[Random], Graph]

CASES: dict[str, Make] = {}
_ELEMENTS = {"uint8": "u8", "int8": "i8", "int32": "i32"}


def case(make: Make) -> Make:
    """Enters a function under its name."""
    CASES[make.__name__] = make
    return make


def graph(op: str, shapes: list[Shape], constants: tuple[Array, ...] = (), **attrs: Any) -> Graph:
    """One node over activations of these shapes, then constants."""
    types = {f"t{i}": TensorType(shape, "u8") for i, shape in enumerate(shapes)}
    known = {f"k{i}": array for i, array in enumerate(constants)}
    types |= {n: TensorType(a.shape, _ELEMENTS[a.dtype.name]) for n, a in known.items()}
    node = Node(op, tuple(types), "y", attrs)
    made = Graph(op, [n for n in types if n not in known], ["y"], [node], types, known)
    types["y"] = TensorType(infer_shape(made, node), "u8")
    verify(made)
    return made


def pick(rng: Random, *choices: Any) -> Any:
    """One of some values."""
    return choices[int(rng.integers(len(choices)))]


def zero(rng: Random) -> int:
    """A zero point of an input."""
    return int(pick(rng, 0, 3, 128, 250))


def requant(rng: Random, channels: int, reach: float) -> Requant:
    """Multipliers that spread accumulators of up to ``reach`` over all bytes."""
    shift = 31 + max(int(math.log2(max(reach, 1))) - 8, 0)
    multipliers = tuple(int(m) for m in rng.integers(1 << 30, (1 << 31) - 1, channels))
    low, high = pick(rng, (0, 255), (0, 230), (2, 255))
    # A zero point at an end could make all results alike, and a kernel cheaper than its bound.
    return Requant(multipliers, shift, pick(rng, 3, 128, 200), low, high)


def convolution(rng: Random, x: Shape, w: Shape, stride: Shape = (1, 1), pad: int = 0,
                groups: int = 1, dilation: Shape = (1, 1)) -> Graph:  # fmt: skip
    weight = rng.integers(-127, 128, w).astype(np.int8)
    bias = rng.integers(-(1 << 15), 1 << 15, w[0]).astype(np.int32)
    reach = 64 * math.sqrt(math.prod(w[1:])) * 128
    return graph("q_conv2d", [x], (weight, bias), stride=stride, padding=((pad, pad),) * 2,
                 dilation=dilation, groups=groups, x_zero=zero(rng),
                 requant=requant(rng, pick(rng, 1, w[0]), reach))  # fmt: skip


@case
def conv2d(rng: Random) -> Graph:
    """Channels that fill vectors."""
    size, stride = pick(rng, (3, 3), (3, 3), (5, 5), (1, 3), (7, 7)), pick(rng, 1, 1, 2)
    x = (1, pick(rng, 4, 8, 32, 64), pick(rng, 5, 8, 9), pick(rng, 8, 10, 16))
    w = (pick(rng, 32, 64, 128), x[1], *size)
    return convolution(rng, x, w, (stride, stride), size[0] // 2)


@case
def conv2d_point(rng: Random) -> Graph:
    """One by one."""
    x = (pick(rng, 1, 2), pick(rng, 32, 64, 128), pick(rng, 1, 4, 7), pick(rng, 1, 4, 8))
    stride = pick(rng, 1, 1, 2)
    return convolution(rng, x, (pick(rng, 32, 64, 256), x[1], 1, 1), (stride, stride))


@case
def conv2d_deep(rng: Random) -> Graph:
    """Several blocks of channels, so that weights may arrive while others are used."""
    size = pick(rng, 1, 3)
    x = (1, pick(rng, 32, 64), pick(rng, 2, 4), pick(rng, 4, 8))
    return convolution(rng, x, (pick(rng, 256, 384), x[1], size, size), pad=size // 2)


@case
def conv2d_odd(rng: Random) -> Graph:
    """Odd channels, strides, dilations and batches."""
    x = (pick(rng, 1, 3), pick(rng, 3, 13, 29), pick(rng, 7, 9), pick(rng, 6, 11))
    stride, dilation = pick(rng, ((3, 3), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (2, 2)))
    w = (pick(rng, 5, 13, 29, 33), x[1], pick(rng, 1, 2, 3), 3)
    return convolution(rng, x, w, stride, pick(rng, 0, 1), dilation=dilation)


@case
def conv2d_groups(rng: Random) -> Graph:
    groups, per, out = pick(rng, (2, 32, 32), (3, 5, 4), (8, 8, 8), (4, 1, 2), (3, 4, 32))
    x = (1, groups * per, pick(rng, 4, 6), pick(rng, 4, 7))
    return convolution(rng, x, (groups * out, per, 3, 3), pad=1, groups=groups)


@case
def depthwise(rng: Random) -> Graph:
    x = (1, pick(rng, 8, 29, 32, 64, 128, 160), pick(rng, 5, 8), pick(rng, 4, 8, 9))
    size, stride = pick(rng, 3, 3, 5), pick(rng, 1, 1, 2)
    return convolution(rng, x, (x[1], 1, size, size), (stride, stride), size // 2, x[1])


@case
def linear(rng: Random) -> Graph:
    rows, k, out = pick(rng, 1, 4, 5, 8), pick(rng, 32, 64, 128, 13), pick(rng, 32, 64, 128, 10)
    weight = rng.integers(-127, 128, (out, k)).astype(np.int8)
    bias = rng.integers(-(1 << 14), 1 << 14, out).astype(np.int32)
    return graph("q_linear", [(rows, k)], (weight, bias), x_zero=zero(rng),
                 requant=requant(rng, out, 64 * math.sqrt(k) * 128))  # fmt: skip


@case
def matmul(rng: Random) -> Graph:
    m, k, n = pick(rng, 4, 5, 8), pick(rng, 7, 16, 32), pick(rng, 4, 13, 32)
    heads = pick(rng, (), (2,))
    shapes = [(*heads, m, k), (*heads, k, n)]
    return graph("q_matmul", shapes, a_zero=zero(rng), b_zero=zero(rng),
                 requant=requant(rng, 1, 1 << 17))  # fmt: skip


def window(rng: Random) -> tuple[Shape, dict[str, Any]]:
    x = (pick(rng, 1, 2), pick(rng, 3, 13, 32, 64, 128), pick(rng, 6, 8), pick(rng, 6, 8, 9))
    size, step, pad = pick(rng, (2, 2, 0), (3, 2, 1), (3, 1, 0), (3, 3, 1), (6, 6, 0))
    return x, dict(kernel=(size, size), stride=(step, step), padding=((pad, pad),) * 2)


@case
def max_pool(rng: Random) -> Graph:
    x, attrs = window(rng)
    return graph("max_pool2d", [x], dilation=(1, 1), **attrs)


@case
def average_pool(rng: Random) -> Graph:
    x, attrs = window(rng)
    made = requant(rng, 1, 64 * math.prod(attrs["kernel"]))
    return graph("q_avg_pool2d", [x], x_zero=zero(rng), requant=made, **attrs)


@case
def mean(rng: Random) -> Graph:
    x, axes = pick(rng, ((1, 64, 8, 8), (2, 3)), ((2, 13, 5, 7), (2, 3)), ((1, 130, 4, 4), (2, 3)),
                   ((3, 29), (1,)), ((2, 5, 13), (1,)), ((1, 32, 3, 4), (1,)))  # fmt: skip
    count = math.prod(x[a] for a in axes)
    return graph("q_mean", [x], axes=axes, keepdim=pick(rng, True, False), x_zero=zero(rng),
                 requant=requant(rng, 1, 64 * count))  # fmt: skip


def operands(rng: Random) -> list[Shape]:
    return list(pick(rng, ((1, 64, 8, 8),) * 2, ((1, 64, 8, 8),) * 2, ((1, 13, 5, 7),) * 2,
                     ((2, 64, 5, 7), (2, 64, 1, 1)), ((2, 5, 13), (13,)), ((4, 10), (4, 1)),
                     ((1, 128, 6, 7),) * 2))  # fmt: skip


@case
def add(rng: Random) -> Graph:
    low, high = pick(rng, (0, 255), (3, 250))
    a, b = (int(m) for m in rng.integers(-32767, 32768, 2))
    return graph("q_add", operands(rng), a_zero=zero(rng), b_zero=zero(rng), a_mult=a, b_mult=b,
                 shift=pick(rng, 14, 15), zero_point=zero(rng), low=low, high=high)  # fmt: skip


@case
def mul(rng: Random) -> Graph:
    return graph("q_mul", operands(rng), a_zero=zero(rng), b_zero=zero(rng),
                 requant=requant(rng, 1, 1 << 14))  # fmt: skip


@case
def lookup(rng: Random) -> Graph:
    shape = pick(rng, (1, 64, 8, 8), (1, 13, 5, 7), (3, 29), (1, 128, 4, 6))
    return graph("lookup", [shape], (rng.integers(0, 256, 256).astype(np.uint8),))


@case
def softmax(rng: Random) -> Graph:
    shape, axis = pick(rng, ((3, 10), 1), ((1, 100), 1), ((2, 5, 29), 2), ((1, 13, 3, 4), 1))
    exp = np.rint(np.exp(-np.arange(256) / 30) * (1 << 15)).astype(np.int32)
    return graph("q_softmax", [shape], (exp,), axis=axis, shift=15 + axis + len(shape))


@case
def cat(rng: Random) -> Graph:
    shapes, axis = pick(rng, ([(1, 13, 4, 5), (1, 29, 4, 5)], 1), ([(1, 64, 4, 5)] * 2, 1),
                        ([(2, 3, 4, 5), (2, 3, 1, 5)], 2), ([(1, 128, 2, 3), (1, 128, 2, 4)], 3),
                        ([(3, 5), (3, 29)], 1))  # fmt: skip
    return graph("cat", shapes, axis=axis)


@case
def pad(rng: Random) -> Graph:
    shape, padding = pick(rng, ((1, 13, 4, 5), ((0, 0), (0, 0), (1, 2), (0, 3))),
                          ((1, 64, 4, 6), ((0, 0), (0, 0), (1, 1), (1, 1))),
                          ((3, 29), ((0, 0), (2, 1))))  # fmt: skip
    return graph("pad", [shape], padding=padding, value=zero(rng))


@case
def cut(rng: Random) -> Graph:
    """Slices."""
    shape, axis, bounds = pick(rng, ((1, 130, 4, 5), 1, (1, 129, 1)), ((1, 64, 9, 8), 2, (1, 9, 3)),
                               ((1, 64, 4, 5), 1, (0, 32, 1)), ((2, 13, 9, 8), 3, (0, 8, 2)),
                               ((3, 29), 1, (4, 29, 1)))  # fmt: skip
    start, stop, step = bounds
    return graph("slice", [shape], axis=axis, start=start, stop=stop, step=step)


@case
def reshape(rng: Random) -> Graph:
    shape, to = pick(rng, ((1, 13, 4, 5), (1, 260)), ((3, 13, 4, 5), (3, 13, 20)), ((4, 6), (6, 4)),
                     ((1, 64, 4, 4), (1, 1024)))  # fmt: skip
    return graph("reshape", [shape], shape=to)


@case
def permute(rng: Random) -> Graph:
    shape, axes = pick(rng, ((2, 13, 4, 5), (0, 2, 3, 1)), ((1, 64, 4, 8), (0, 1, 3, 2)),
                       ((2, 3, 29), (0, 2, 1)), ((3, 29), (1, 0)))  # fmt: skip
    return graph("permute", [shape], axes=axes)


@case
def expand(rng: Random) -> Graph:
    shape, to = pick(rng, ((1, 13, 1, 1), (2, 13, 3, 5)), ((1, 64, 1, 1), (1, 64, 4, 4)),
                     ((2, 1, 3), (2, 5, 3)))  # fmt: skip
    return graph("expand", [shape], shape=to)


@case
def move(rng: Random) -> Graph:
    """Several moves as one: numbers of elements by digits."""
    extents, strides, offset = pick(rng, ((29, 5), (1, 29), 0), ((8, 4, 64), (2, 512, 8), 1),
                                    ((4, 3, 13), (13, 0, 1), 26), ((5, 9), (9, 1), 7))  # fmt: skip
    last = offset + sum((n - 1) * stride for n, stride in zip(extents, strides, strict=True))
    shape = pick(rng, (1, math.prod(extents)), extents)
    return graph("move", [(1, last + pick(rng, 1, 9))], shape=shape, extents=extents,
                 strides=strides, offset=offset)  # fmt: skip


@case
def conv_transpose2d(rng: Random) -> Graph:
    stride, size, cut = pick(rng, (2, 4, 1), (2, 3, 1), (2, 2, 0), (3, 3, 0), (1, 3, 1))
    groups, per, out = pick(rng, (1, 8, 32), (1, 64, 16), (1, 13, 3), (2, 4, 8))
    weight = rng.integers(-127, 128, (groups * out, per, size, size)).astype(np.int8)
    bias = rng.integers(-(1 << 15), 1 << 15, groups * out).astype(np.int32)
    x = (pick(rng, 1, 2), groups * per, pick(rng, 4, 5), pick(rng, 4, 8))
    reach = 64 * math.sqrt(per * (size / stride) ** 2) * 128
    numbers = requant(rng, pick(rng, 1, len(weight)), reach)
    return graph("q_conv_transpose2d", [x], (weight, bias), stride=(stride, stride),
                 padding=((cut, cut),) * 2, dilation=(1, 1), groups=groups,
                 room=out + pick(rng, 0, -out % 4), x_zero=zero(rng), requant=numbers)  # fmt: skip


@case
def upsample(rng: Random) -> Graph:
    """Nearest pixels by factors that are not whole, and some that are."""
    shape = pick(rng, (1, 13, 4, 6), (1, 64, 3, 5), (2, 29, 5, 4))
    rows, columns = (
        tuple(i * n // made for i in range(made))
        for n in shape[2:]
        for made in [pick(rng, n + 1, 2 * n, 7)]
    )
    return graph("upsample_nearest2d", [shape], rows=rows, columns=columns)


@case
def layer_norm(rng: Random) -> Graph:
    """Its numbers are those that quantizing finds for values about some mean."""
    shape, axes = pick(rng, ((5, 64), 1), ((33, 100), 1), ((1, 40, 13), 1), ((6, 4, 8), 2))
    known = {name: rng.normal(1, 0.5, shape[len(shape) - axes :]) for name in ("w", "b")}
    source = Graph("layer_norm", ["x"], ["y"])
    source.constants = {name: array.astype(np.float32) for name, array in known.items()}
    source.types = {name: TensorType(array.shape) for name, array in known.items()}
    source.types |= dict.fromkeys("xy", TensorType(shape))
    attrs = {"axes": axes, "eps": pick(rng, 1e-5, 1e-2)}
    source.nodes.append(Node("layer_norm", ("x", "w", "b"), "y", attrs))
    x = rng.normal(pick(rng, 0, 3), pick(rng, 0.3, 2), shape).astype(np.float32)
    return quantize(source, [[x]])


def written(rng: Random, function: Callable[..., Any], *shapes: Shape) -> Graph:
    """The last node of what torch calls become, on random numbers that quantizing knows."""
    import torch

    class Calls(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> Any:
            return function(torch, *inputs)

    arrays = [rng.normal(0.5, 1, shape).astype(np.float32) for shape in shapes]
    made = quantize(import_model(Calls(), tuple(map(torch.from_numpy, arrays))), [arrays])
    return one_node(made, made.nodes[-1])


@case
def div(rng: Random) -> Graph:
    shape = pick(rng, (1, 64, 8, 8), (1, 13, 5, 7))
    return written(rng, lambda torch, a, b: a / (b.abs() + 1.0), shape, shape)


@case
def maximum(rng: Random) -> Graph:
    return written(rng, lambda torch, a, b: torch.maximum(a, b), *operands(rng))


@case
def minimum(rng: Random) -> Graph:
    return written(rng, lambda torch, a, b: torch.minimum(a, b), *operands(rng))


@case
def amax(rng: Random) -> Graph:
    shape, axis = pick(rng, ((1, 64, 8, 8), 1), ((3, 40), 1), ((1, 13, 5, 7), (2, 3)))
    return written(rng, lambda torch, x: torch.amax(x, axis), shape)


@case
def amin(rng: Random) -> Graph:
    shape, axis = pick(rng, ((1, 64, 8, 8), 1), ((3, 40), 1), ((1, 13, 5, 7), (2, 3)))
    return written(rng, lambda torch, x: torch.amin(x, axis), shape)


@case
def where(rng: Random) -> Graph:
    shape = pick(rng, (1, 64, 8, 8), (3, 29), (1, 13, 5, 7))
    return written(rng, lambda torch, c, x, y: torch.where(c > 0, x, y), shape, shape, shape)


@case
def masked_softmax(rng: Random) -> Graph:
    shape = pick(rng, (3, 10), (2, 5, 29), (1, 100))
    return written(
        rng,
        lambda torch, x, m: torch.softmax(x.masked_fill(m > 1, float("-inf")), -1), shape, shape,
    )  # fmt: skip


@case
def bilinear(rng: Random) -> Graph:
    shape, size = pick(rng, ((1, 64, 4, 4), (8, 8)), ((1, 13, 5, 7), (7, 11)))
    corners = bool(pick(rng, 0, 1))
    return written(
        rng,
        lambda torch, x: torch.nn.functional.interpolate(
            x, size, mode="bilinear", align_corners=corners
        ), shape,
    )  # fmt: skip


@case
def residual(rng: Random) -> Graph:
    """A sum of products and what is added to it, rounded once."""
    made = convolution(rng, (1, 64, 6, 7), (64, 64, 3, 3), pad=1)
    (sums,) = made.nodes
    sums = replace(
        sums, attrs={**sums.attrs, "requant": replace(requant_of(sums), low=0, high=255)}
    )
    attrs = {"a_zero": 3, "b_zero": zero(rng), "a_mult": 15000, "b_mult": 9000, "shift": 14,
             "zero_point": 128, "low": 0, "high": 255}  # fmt: skip
    made.types |= {"r": made.types["y"], "z": made.types["y"]}
    added = Node("q_add", ("y", "r"), "z", attrs)
    whole = Graph("residual", ["t0", "r"], ["z"], [sums, added], made.types, made.constants)
    return fuse(whole, once=True)
