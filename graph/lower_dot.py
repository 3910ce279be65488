"""Convolution, linear and matrix product as loop nests: dot products, then requantization.

conv2d and linear read w[kh, kw, c, o] (i8), bias[o] and mult[o] (i32), all padded with zeros to the
output's stored channels. The input's zero point is folded: padding reads x_zero, and

    sum (x - x_zero) * w + bias = sum x * w + (bias - x_zero * sum w)

Groups are merged until a merged group is whole words of 4 inputs and of 4 outputs that fill
registers evenly, or into a single one; within a merged group the weights are block-diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tir.expr import Expr, cast, const
from ..tir.stmt import Buffer, Store
from ..tir.types import i32, u8
from .graph import Array
from .integer_row import integer, requant_of
from .kernels import Kernel
from .lower_nest import Axis, grown, variables
from .lower_site import Site, common_multiplier, per_channel, requantized
from .lower_window import Source, Window, image_axes, windowed
from .physical import VECTOR, Shape, as_image, axes, physical, place_of, round_up


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
    return channels % 4 == 0 and (VECTOR % channels == 0 or channels % VECTOR == 0)


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
class Sums:
    """The constants of a weighted sum and the largest magnitude of its accumulators."""

    weight: Buffer
    bias: Buffer
    mult: Buffer
    bound: int


def _sums(site: Site, packed: Array, stored: int) -> Sums:
    weight, bias = site.value(1), site.value(2).astype(np.int64)
    zero, requant = integer(site.node, "x_zero"), requant_of(site.node)
    rows = weight.astype(np.int64).reshape(weight.shape[0], -1)
    reach = np.abs(bias) + np.abs(rows).sum(axis=1) * max(zero, 255 - zero)
    # The folded bias may wrap; sums modulo 2**32 are exact, for the result fits i32.
    folded = bias - zero * rows.sum(axis=1)
    channels = len(bias)
    return Sums(
        site.constant("w", packed),
        site.constant("bias", per_channel(folded, channels, stored)),
        site.constant("mult", per_channel(requant.multiplier, channels, stored)),
        int(reach.max(initial=0)),
    )


def _accumulator(site: Site, shape: Shape) -> Buffer:
    return site.nests.alloc(Buffer("acc", i32, shape, "reg"))


def _requant(site: Site, acc: Buffer, sums: Sums) -> None:
    """The whole accumulator to the output of equal shape."""
    output = site.output()
    (n, h, w, o), (images, height, width, deep) = _outputs(acc.shape), acc.shape
    loops = [Axis("n", images), Axis("oh", height), Axis("ow", width), Axis("o", deep)]
    value = requantized(site, requant_of(site.node), acc[n, h, w, o], sums.mult[o], sums.bound)
    site.nests.add("requant", loops, Store(output, (n, h, w, o), value))


def _outputs(shape: Shape) -> tuple[Expr, ...]:
    names = ("n", "oh", "ow", "o")
    return variables(Axis(name, size) for name, size in zip(names, shape, strict=True))


def conv2d(site: Site) -> Kernel:
    weight, groups = site.value(1), integer(site.node, "groups")
    window = Window.of(site.node, (weight.shape[2], weight.shape[3]))
    _, channels, height, width = site.shape(site.node.inputs[0])
    x = Source(site.input(0, "x"), (height, width))
    if groups > 1 and weight.shape[:2] == (channels, 1):
        return _depthwise(site, x, window)
    return _dense(site, x, window, weight, "conv2d")


def linear(site: Site) -> Kernel:
    weight = site.value(1)[:, :, None, None]
    shape = site.shape(site.node.inputs[0])
    x = site.input(0, "x")
    if len(shape) == 4:
        return _image_linear(site, x, shape, weight)
    _, _, height, width = as_image(shape)
    return _dense(site, Source(x, (height, width)), Window(), weight, "matmul")


def _dense(site: Site, x: Source, window: Window, weight: Array, kind: str) -> Kernel:
    output = site.output()
    images, height, width, stored = output.shape
    groups = integer(site.node, "groups") if kind == "conv2d" else 1
    sizes = weight.shape[1], weight.shape[0] // groups
    made, many = merge_groups(groups, *sizes, x.buffer.shape[3], stored)
    wanted = height, as_image(site.output_shape)[3]
    zero = site.fill("x_zero")
    depth = made.count * made.inputs
    source = windowed(site.nests, x, window, wanted, width, depth, zero, dense=True)
    sums = _sums(site, pack_weight(weight, groups, many, made), stored)
    acc = _accumulator(site, output.shape)
    _dot(site, source, window, made, sums, acc)
    _requant(site, acc, sums)
    facts = {**window.facts, "groups": groups, "blocks": made.count, "images": images}
    return site.kernel(kind, direct=source == x.buffer, **facts)


def _dot(site: Site, source: Buffer, window: Window, made: Groups, sums: Sums, acc: Buffer) -> None:
    """The block ``dot``; several groups have a loop ``g`` of their own."""
    images, height, width, _ = acc.shape
    rows = [Axis("n", images), Axis("oh", height), Axis("ow", width)]
    group, o, c = Axis("g", made.count), Axis("o", made.outputs), Axis("c", made.inputs, True)
    out = [o] if made.count == 1 else [group, o]
    n, oh, ow = variables(rows)
    kh, kw = variables(window.taps)
    channel, depth = o.var, c.var
    if made.count > 1:
        channel, depth = group.var * made.outputs + o.var, group.var * made.inputs + c.var
    pixel = source[n, window.row(oh, kh), window.column(ow, kw), depth]
    product = cast(i32, pixel) * cast(i32, sums.weight[kh, kw, c.var, channel])
    where = (n, oh, ow, channel)
    site.nests.add(
        "dot",
        [*rows, *out, *window.taps, c],
        Store(acc, where, acc[where] + product),
        Store(acc, where, sums.bias[channel]),
    )


def _depthwise(site: Site, x: Source, window: Window) -> Kernel:
    output = site.output()
    images, height, width, stored = output.shape
    wanted = height, site.output_shape[3]
    zero = site.fill("x_zero")
    source = windowed(site.nests, x, window, wanted, width, stored, zero)
    weight = site.value(1)
    packed = np.zeros((*window.kernel, stored), weight.dtype)
    packed[:, :, : len(weight)] = weight[:, 0].transpose(1, 2, 0)
    sums = _sums(site, packed, stored)
    acc = _accumulator(site, output.shape)
    loops = [Axis("n", images), Axis("oh", height), Axis("ow", width), Axis("o", stored)]
    where = n, oh, ow, o = variables(loops)
    kh, kw = variables(window.taps)
    pixel = source[n, window.row(oh, kh), window.column(ow, kw), o]
    product = cast(i32, pixel) * cast(i32, sums.weight[kh, kw, o])
    total = Store(acc, where, acc[where] + product)
    site.nests.add("dot", [*loops, *window.taps], total, Store(acc, where, sums.bias[o]))
    _requant(site, acc, sums)
    return site.kernel("depthwise", direct=source == x.buffer, images=images, **window.facts)


def _image_linear(site: Site, x: Buffer, shape: Shape, weight: Array) -> Kernel:
    """Rank 4: the last axis is not the innermost stored one, so rows are gathered first."""
    images, planes, rows, depth = shape
    outputs = weight.shape[0]
    made, many = merge_groups(1, depth, outputs, depth, physical((1, outputs))[3])
    xp_shape = (1, images * planes, rows, made.inputs)
    xp = site.nests.alloc(Buffer("xp", u8, xp_shape, "tcm"))
    whole = image_axes(xp.shape)
    zero = site.fill("x_zero")
    if made.inputs != depth:
        site.nests.add("fill", whole, Store(xp, variables(whole), zero))
    loops = [Axis("n", images), Axis("ih", rows), Axis("iw", depth), Axis("c", planes)]
    n, h, w, c = variables(loops)
    at = (const(0, i32), n * planes + c, h, w)
    site.nests.add("copy", loops, Store(xp, at, x[n, h, w, c]))
    sums = _sums(site, pack_weight(weight, 1, many, made), made.outputs)
    acc = _accumulator(site, (1, images * planes, rows, made.outputs))
    _dot(site, xp, Window(), made, sums, acc)
    out = [Axis("n", images), Axis("oh", rows), Axis("ow", outputs), Axis("o", planes)]
    n, h, w, c = variables(out)
    total = acc[0, n * planes + c, h, w]
    value = requantized(site, requant_of(site.node), total, sums.mult[w], sums.bound)
    site.nests.add("requant", out, Store(site.output(), (n, h, w, c), value))
    return site.kernel("matmul", direct=False, images=1, **Window().facts)


def matmul(site: Site) -> Kernel:
    """Two activations: zero points are subtracted element by element."""
    a, b = site.input(0, "a"), site.input(1, "b")
    shapes = [site.shape(name) for name in site.node.inputs]
    output, out_shape = site.output(), site.output_shape
    loops = [Axis(s.name, s.extent, stored=s.stored) for s in axes(out_shape)]
    by_dim = {s.dim: axis.var for s, axis in zip(axes(out_shape), loops, strict=True)}
    index = [by_dim[d] for d in range(len(out_shape))]
    depth = Axis("k", shapes[0][-1], True)
    left = place_of(shapes[0], [*_batch(shapes[0], index), index[-2], depth.var])
    right = place_of(shapes[1], [*_batch(shapes[1], index), depth.var, index[-1]])
    product = _shifted(site, a[left], "a_zero") * _shifted(site, b[right], "b_zero")
    acc = _accumulator(site, output.shape)
    where = place_of(out_shape, index)
    total = Store(acc, where, acc[where] + product)
    *spatial, reduced = grown([*loops, depth], total)
    site.nests.add("dot", [*spatial, reduced], total, Store(acc, where, const(0, i32)))
    requant = requant_of(site.node)
    zeros = integer(site.node, "a_zero"), integer(site.node, "b_zero")
    bound = depth.extent * max(zeros[0], 255 - zeros[0]) * max(zeros[1], 255 - zeros[1])
    multiplier = common_multiplier(site, requant)
    value = requantized(site, requant, acc[where], multiplier, bound)
    site.nests.add("requant", spatial, Store(output, where, value))
    return site.kernel("matmul", depth=depth.extent)


def _batch(shape: Shape, index: list[Expr]) -> list[Expr]:
    """The leading indices of an operand of ``shape``; its axes of size 1 repeat."""
    heads = index[: len(index) - 2][len(index) - len(shape) :]
    return [at if n != 1 else const(0, i32) for n, at in zip(shape[:-2], heads, strict=True)]


def _shifted(site: Site, value: Expr, zero: str) -> Expr:
    amount = site.zero(zero)
    return cast(i32, value) - amount if integer(site.node, zero) else cast(i32, value)
