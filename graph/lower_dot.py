"""Weighted sums as loop nests: dot products, then requantization.

They read w[kh, kw, c, o] (i8), bias[o] and mult[o] (i32), all padded with zeros to the
output's stored channels. The input's zero point is folded: padding reads x_zero, and

    sum (x - x_zero) * w + bias = sum x * w + (bias - x_zero * sum w)

Groups are merged until a merged group is whole words of 4 inputs and of 4 outputs that fill
registers evenly, or into a single one; within a merged group the weights are block-diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tir.expr import Expr, cast
from ..tir.places import ALIGN
from ..tir.stmt import Buffer, Store
from ..tir.types import i32
from .attributes import integer, requant_of
from .graph import Array
from .kernels import Kernel
from .lower_nest import LoopAxis, variables
from .lower_site import Site, per_channel, requantized
from .lower_window import Window, WindowSource, windowed
from .physical import Shape, as_image, round_up


@dataclass(frozen=True, slots=True)
class Groups:
    """``count`` merged groups of ``inputs`` channels that make ``outputs`` channels each."""

    count: int
    inputs: int
    outputs: int


def merge_groups(
    groups: int, inputs: int, outputs: int, deep: int, stored: int
) -> tuple[Groups, int]:
    """Merged groups that tile the ``stored`` output channels, of ``deep`` stored inputs, and how
    many groups make one."""
    for many in (m for m in range(1, groups) if groups % m == 0):
        made = Groups(stored // (many * outputs), many * inputs, many * outputs)
        tiles = stored % 32 == stored % made.outputs == 0 and made.count * made.inputs <= deep
        if tiles and _even(made.inputs) and _even(made.outputs):
            return made, many
    return Groups(1, round_up(groups * inputs, 4), stored), groups


def _even(channels: int) -> bool:
    """Whether words of so many channels fill registers, or registers hold several of them."""
    return channels % 4 == 0 and (ALIGN % channels == 0 or channels % ALIGN == 0)


def pack_weight(weight: Array, groups: int, many: int, made: Groups) -> Array:
    """[O, C/G, KH, KW] as [KH, KW, C, O], block-diagonal in each merged group."""
    taps = weight.transpose(2, 3, 1, 0)
    per, out = weight.shape[1], weight.shape[0] // groups
    packed = np.zeros((*taps.shape[:2], made.inputs, made.count * made.outputs), weight.dtype)
    for group in range(groups):
        rows, columns = (group % many) * per, slice(group * out, (group + 1) * out)
        packed[:, :, rows : rows + per, columns] = taps[:, :, :, columns]
    return packed


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """The constants of a weighted sum and the largest magnitude of its accumulators."""

    weight: Buffer
    bias: Buffer
    mult: Buffer
    bound: int


@dataclass(frozen=True, slots=True)
class ConvWeights:
    """[O, C / groups, KH, KW] in i8, and bias and multiplier of each of the O outputs."""

    weight: Array
    bias: Array
    multiplier: Array
    groups: int = 1

    @staticmethod
    def of(site: Site, groups: int = 1) -> ConvWeights:
        """Those of a node whose inputs 1 and 2 are a weight of rank 2 or 4 and a bias."""
        weight, bias = site.value(1), site.value(2)
        if weight.ndim == 2:
            weight = weight[:, :, None, None]
        multiplier = np.array(requant_of(site.node).multiplier)
        return ConvWeights(weight, bias, np.broadcast_to(multiplier, bias.shape), groups)


def sums(site: Site, packed: Array, of: ConvWeights, stored: int) -> WeightedSum:
    bias, zero = of.bias.astype(np.int64), integer(site.node, "x_zero")
    rows = of.weight.astype(np.int64).reshape(len(of.weight), -1)
    # The folded bias may wrap; sums modulo 2**32 are exact, for the result fits i32.
    folded = bias - zero * rows.sum(axis=1)
    channels = len(bias)
    return WeightedSum(
        site.constant("w", packed, of=1),
        site.constant("bias", per_channel(folded, channels, stored), of=2),
        site.constant("mult", per_channel(of.multiplier, channels, stored)),
        reach(of.weight, of.bias, zero),
    )


def reach(weight: Array, bias: Array, zero: int) -> int:
    """The largest magnitude of sums of products by a weight [O, ...], with a bias [O]."""
    rows = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
    return int((np.abs(bias.astype(np.int64)) + rows * max(zero, 255 - zero)).max(initial=0))


def accumulator(site: Site, shape: Shape) -> Buffer:
    return site.nests.alloc(Buffer("acc", i32, shape, "reg"))


def requant(site: Site, acc: Buffer, made: WeightedSum) -> None:
    """The whole accumulator to the output of equal shape."""
    output = site.output()
    (n, h, w, o), (images, height, width, deep) = _outputs(acc.shape), acc.shape
    loops = [
        LoopAxis("n", images),
        LoopAxis("oh", height),
        LoopAxis("ow", width),
        LoopAxis("o", deep),
    ]
    where = n, h, w, o
    value = requantized(site, requant_of(site.node), acc[where], made.mult[o], made.bound)
    site.nests.add("requant", loops, Store(output, where, site.made(value, where)))


def _outputs(shape: Shape) -> tuple[Expr, ...]:
    names = ("n", "oh", "ow", "o")
    return variables(LoopAxis(name, size) for name, size in zip(names, shape, strict=True))


def dense(site: Site, x: WindowSource, window: Window, of: ConvWeights, kind: str) -> Kernel:
    output = site.output()
    images, height, width, stored = output.shape
    sizes = of.weight.shape[1], len(of.weight) // of.groups
    made, many = merge_groups(of.groups, *sizes, x.buffer.shape[3], stored)
    wanted = height, width if site.joined else as_image(site.output_shape)[3]
    zero = site.fill("x_zero")
    depth = made.count * made.inputs
    source = windowed(site.nests, x, window, wanted, width, depth, zero, dense=True)
    constants = sums(site, pack_weight(of.weight, of.groups, many, made), of, stored)
    acc = accumulator(site, output.shape)
    dot(site, source, window, made, constants, acc)
    requant(site, acc, constants)
    facts = {**window.facts, "groups": of.groups, "blocks": made.count, "images": images}
    return site.kernel(kind, direct=source == x.buffer, **facts)


def dot(
    site: Site, source: Buffer, window: Window, made: Groups, constants: WeightedSum, acc: Buffer
) -> None:
    """The block ``dot``; several groups have a loop ``g`` of their own."""
    images, height, width, _ = acc.shape
    rows = [LoopAxis("n", images), LoopAxis("oh", height), LoopAxis("ow", width)]
    group, o, c = (
        LoopAxis("g", made.count),
        LoopAxis("o", made.outputs),
        LoopAxis("c", made.inputs, True),
    )
    out = [o] if made.count == 1 else [group, o]
    n, oh, ow = variables(rows)
    kh, kw = variables(window.taps)
    channel, depth = o.var, c.var
    if made.count > 1:
        channel, depth = group.var * made.outputs + o.var, group.var * made.inputs + c.var
    pixel = source[n, window.row(oh, kh), window.column(ow, kw), depth]
    product = cast(i32, pixel) * cast(i32, constants.weight[kh, kw, c.var, channel])
    where = (n, oh, ow, channel)
    site.nests.add(
        "dot",
        [*rows, *out, *window.taps, c],
        Store(acc, where, acc[where] + product),
        Store(acc, where, constants.bias[channel]),
    )
