"""layer_norm over the last axes: (x - mean) / sqrt(variance + eps) * weight + bias; rms_norm is
one whose mean is taken for 0, and group and instance norms have other weights along other axes.

    q_layer_norm(x u8, weight i32, bias i32) axes center mean_mult mean_shift h eps left mult_shift
                 shift low high                                 weight and bias broadcast to x
        Of the D values q of the last ``axes`` axes, S1 = sum of q, S2 = sum of q * q, and M(v) =
        (v * mean_mult + half) >> mean_shift, v / D:
        a = M(S1), b = S1 - D * a               the mean is a + b / D, |b| <= 0.51 * D
        E = S2 - a * S1 - a * b                 the sum of (q - a)**2
        P = max((E << h) - M(b * b << h) + eps, 1)              D * (variance + eps) * 2**h
            for h < 0: max(rounding_shr(E - M(b * b), -h) + eps, 1)
        v = P << 2 * k, so that 2**29 <= v < 2**31 (k at most ``room``), and z = v / 2**31
        u = 2**29 / sqrt(z) by Newton's y * (3 - z * y * y) / 2, three times from 2.1 - 1.15 * z
            with a center, a is that, E is as above with b = S1 - D * a, and then b counts as 0
        t = (((q - a) * D - b) << k + left) * u >> 31           normalized, times a constant
        y = clamp(((t * weight >> mult_shift) + bias, rounded) >> shift, low, high)

All products shifted by 31 and more are rounded half up. S1 <= 255 * D and S2 <= 255**2 * D fit i32
for D up to 32,768, and so do a * S1 <= 255 * S1 and E <= (127.5**2 + 1) * D; h is the most for
which (127.5**2 + 1) * D * 2**h + eps does, and with it b * b << h < 0.27 * D**2 * 2**h. Of
n = (q - a) * D - b it is known that n * n <= D**3 * variance, so n << k <= D * 2**(15.5 - h / 2),
beside what P is rounded by: a relative 2**-8 at most, for D * variance >= max(|b|, 1) / 2, and
M(b * b << h) is rounded by no more than it is. ``reach`` holds that, and ``left`` fills i32.
Newton's steps leave 0.0133, 2.6e-4 and 1.1e-7 of a relative error of 0.094. With a center, squares
are 255**2 at most, not 127.5**2 + 1, and (q - a)**2 <= E.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...tir.expr import Expr, cast, const, make, maximum, minimum, select
from ...tir.stmt import Buffer, Store
from ...tir.types import i32
from ..aten import known
from ..attributes import Shape, broadcast, integer, require
from ..emitting import Emitter, FloatStep
from ..forms import OFFSET, SHIFT, SUM_SHIFT
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_nest import LoopAxis, grown, variables
from ..lower_point import logical
from ..lower_site import Site, narrowed
from ..physical import place_of
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value

MOST = 1 << 15  # values whose squares can be summed
LIMIT = (1 << 31) - 1
SPREAD: float = 127.5**2 + 1  # the most that a square can be on average, from a rounded mean
STEPS = 3  # of Newton's method
GUESS = round(2.1 * 2**29), round(1.15 * 2**29)
FRACTION = 16  # bits behind the point of the sum with the bias, at most


# ATen calls and the float operator ---------------------------------------------------------------


def aten_layer_norm(
    b: GraphBuilder,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value,
    bias: Value,
    eps: float,
    cudnn_enable: bool = True,
) -> Value:
    import torch

    made = []
    for value, name, filler in ((weight, "weight", 1.0), (bias, "bias", 0.0)):
        found = known(value, f"a {name}")
        if found is None:
            found = torch.full(tuple(normalized_shape), filler)
            found = b.label(found, f"{b.base}.{name}")
        made.append(found)
    return b.emit("layer_norm", input, *made, axes=len(normalized_shape), eps=float(eps))


def aten_rms_norm(
    b: GraphBuilder, input: Value, normalized_shape: Sequence[int], weight: Value, eps: float | None
) -> Value:
    """Without an eps torch takes the distance between floats at 1."""
    import torch

    found = known(weight, "a weight")
    if found is None:
        found = b.label(torch.ones(tuple(normalized_shape)), f"{b.base}.weight")
    least = torch.finfo(torch.float32).eps if eps is None else float(eps)
    return b.emit("rms_norm", input, found, axes=len(normalized_shape), eps=least)


def layer_norm(torch: Any, x: Tensor, w: Tensor, b: Tensor, *, axes: int, eps: float) -> Any:
    """x normalized over its last ``axes`` axes, times w plus b, which broadcast to x."""
    return torch.nn.functional.layer_norm(x, x.shape[x.ndim - axes :], eps=eps) * w + b


def rms_norm(torch: Any, x: Tensor, w: Tensor, *, axes: int, eps: float) -> Any:
    """x over the root of the mean of its squares plus eps over its last ``axes`` axes, times w."""
    over = tuple(range(x.ndim - axes, x.ndim))
    return x * torch.rsqrt(x.square().mean(over, keepdim=True) + eps) * w


# The quantized form ------------------------------------------------------------------------------


def mean_of(count: int) -> tuple[int, int]:
    """Multiplier and shift of a quotient by ``count``."""
    more = max((count - 1).bit_length() - 1, 0)
    return min(round((1 << (31 + more)) / count), LIMIT), 31 + more


def head(count: int, eps: float, spread: float = SPREAD) -> int:
    """The most by which sums of squares go left, of values that vary by ``eps`` more."""
    return min(math.floor(math.log2((LIMIT - 2) / (count * (spread + eps)))), 17)


def room(h: int, eps: int) -> int:
    """The most pairs of bits by which a power goes left: no variance that is not 0 needs more."""
    least = max(h - 1, 0 if h > 1 else eps.bit_length() - 1, 0)
    return -(-(30 - least) // 2)


def reach(count: int, h: int, eps: int) -> int:
    """The greatest |n << k|."""
    known: float = 1.02 * count * 2.0 ** (15.5 - h / 2)
    return math.ceil(min(known, 256 * count * 2.0 ** room(h, eps)))


def quantize(emit: Emitter, step: FloatStep) -> None:
    weight, *others = (array.astype(np.float64) for array in emit.known(step))
    bias, centered = (others[0], False) if others else (np.zeros_like(weight), True)
    x, y = emit.affines[step.inputs[0]], emit.affines[step.output]
    shape = emit.source.types[step.inputs[0]].shape
    count = prod(shape[len(shape) - step.attrs["axes"] :])
    if count > MOST:
        raise emit.refused(
            f"{step.op} {step.output}: squares must be summed in i32, so at most {MOST} values "
            f"may be normalized together, but got {count}; normalize over fewer axes"
        )
    eps = step.attrs["eps"] / x.scale**2
    h = head(count, eps, 255.0**2 if centered else SPREAD)
    more = round(count * eps * 2.0**h)
    left = 30 - reach(count, h, more).bit_length()
    unit = 2.0 ** (h / 2 - 13.5 - left) / math.sqrt(count)  # what a step of t is, normalized
    factors, offsets = weight * unit / y.scale, bias / y.scale + y.zero_point
    top = max(float(np.abs(factors).max()), 2.0**-60)
    most = math.sqrt(count) * float(np.abs(weight).max()) / y.scale + float(np.abs(offsets).max())
    fraction = min(FRACTION, 29 - math.frexp(most + 256)[1], -1 - math.frexp(top)[1])
    fraction = max(fraction, 1)
    by = min(max(31 - math.frexp(top)[1] - fraction, 31), 62)
    low, high = emit.limits(step)
    mult, shift = mean_of(count)
    attrs = {
        "axes": step.attrs["axes"],
        "span": weight.ndim,
        "center": x.zero_point if centered else None,
        "mean_mult": mult,
        "mean_shift": shift,
        "h": h,
        "eps": more,
        "left": left,
        "mult_shift": by,
        "shift": fraction,
        "low": low,
        "high": high,
    }
    names = [
        emit.tensor(step.inputs[0]),
        emit.constant(f"{step.output}.weight", _words(factors * 2.0 ** (by + fraction))),
        emit.constant(f"{step.output}.bias", _words(offsets * 2.0**fraction)),
    ]
    emit.node(step, Q_LAYER_NORM.name, names, attrs)


def _words(values: Array) -> NDArray[np.int32]:
    return np.clip(np.rint(values), -LIMIT, LIMIT).astype(np.int32)


# The integer operator ----------------------------------------------------------------------------


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axes, (x, weight, bias) = integer(node, "axes"), shapes
    require(1 <= axes <= len(x), node, "axes are 1 to all", axes)
    fits = weight == bias and broadcast(node, (x, weight)) == x
    require(fits, node, "weight and bias broadcast to the input", shapes)
    count = prod(x[len(x) - axes :])
    require(count <= MOST, node, f"at most {MOST} values are normalized together", count)
    shifts = integer(node, "mult_shift"), integer(node, "shift")
    span = integer(node, "span")
    require(span == len(weight), node, "weight and bias have the axes of the span", (span, weight))
    right = 31 <= shifts[0] <= 62 and 1 <= shifts[1] <= FRACTION
    require(right, node, f"the shifts are in 31..62 and 1..{FRACTION}", shifts)
    return x


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x, weight, bias = (array.astype(np.int64) for array in inputs)
    h, over = integer(node, "h"), tuple(range(x.ndim - integer(node, "axes"), x.ndim))
    count, center = prod(x.shape[axis] for axis in over), node.attrs["center"]

    def rounded(product: Array, shift: int) -> Array:
        return np.asarray((product + (1 << (shift - 1))) >> shift)

    def share(values: Array) -> Array:
        return rounded(values * integer(node, "mean_mult"), integer(node, "mean_shift"))

    s1, s2 = x.sum(axis=over, keepdims=True), (x * x).sum(axis=over, keepdims=True)
    a = share(s1) if center is None else np.full_like(s1, center)
    b = s1 - count * a
    e = s2 - a * s1 - a * b
    b = b if center is None else np.zeros_like(b)
    power = (e << h) - share((b * b) << h) if h >= 0 else rounded(e - share(b * b), -h)
    power = np.maximum(power + integer(node, "eps"), 1)
    pairs = np.zeros_like(power)
    for step in halves(room(h, integer(node, "eps"))):
        small = (power << 2 * pairs) < 1 << (31 - 2 * step)
        pairs += np.where(small, step, 0)
    v = power << 2 * pairs
    u = GUESS[0] - rounded(v * GUESS[1], 31)
    for _ in range(STEPS):
        square = rounded(u * u, 31)
        u = rounded(u * ((3 * (1 << 27) - rounded(v * square, 31)) << 2), 31) << 1
    n = (((x - a) * count) - b) << (pairs + integer(node, "left"))
    total = rounded(rounded(n * u, 31) * weight, integer(node, "mult_shift"))
    y = rounded(np.clip(total, -LIMIT - 1, LIMIT) + bias, integer(node, "shift"))
    return np.asarray(np.clip(y, integer(node, "low"), integer(node, "high")), np.uint8)


def halves(total: int) -> Iterator[int]:
    """Numbers whose sums are all of 0 to ``total``, each at most one more than all behind it."""
    while total:
        yield (step := -(-total // 2))
        total -= step


# The lowering ------------------------------------------------------------------------------------


def lower(site: Site) -> Kernel:
    """sum, squares, then numbers a row (mean, power, root, scale and shift), and out."""
    node, shape, output = site.node, site.output_shape, site.output()
    axes, x, rank = integer(node, "axes"), site.input(0, "x"), len(shape)
    loops, index = logical(shape)
    own = tuple(index[rank - axes :])
    if rank == axes or rank < 3:  # rows have an axis, though there is one of them
        loops = [LoopAxis("r", 1), *loops]
    pixel = x[place_of(shape, index)]
    full = grown(loops, Store(output, place_of(shape, index), pixel))
    along = [axis for axis in loops if axis.var in own]
    others = [axis for axis in full if axis.var not in own]
    rows, sizes = variables(others), tuple(axis.extent for axis in others)
    over = [*others, *(LoopAxis(axis.name, axis.extent, True) for axis in along)]
    center = node.attrs["center"]

    def row(name: str, value: Expr, terms: bool = False) -> Expr:
        made = site.nests.alloc(Buffer(name, i32, sizes, "reg"))
        first = Store(made, rows, const(0, i32)) if terms else None
        total = Store(made, rows, made[rows] + value if terms else value)
        site.nests.add(name, over if terms else others, total, first)
        return made[rows]

    count, wide = prod(a.extent for a in along), cast(i32, pixel)
    s1, s2 = row("sum", wide, True), row("squares", wide * wide, True)
    a = row("mean", _mean(node, s1)) if center is None else site.zero("center")
    power = row("power", _power(site, s1, s2, a, count))
    root = row("root", _root(node, power))
    scale = row("scale", _scale(node, power))
    n = (wide - a) * (scale * count)
    if center is None:
        n = n - row("shift", (s1 - a * count) * scale)
    t = _shr(n << integer(node, "left"), root, 31)
    by = site.number("mult_shift", integer(node, "mult_shift"), SHIFT)
    weight, bias = (_padded(site, place, index, full) for place in (1, 2))
    total = make("rounding_mul_shr", t, weight, by) + bias
    y = make("rounding_shr", total, site.number("shift", integer(node, "shift"), SUM_SHIFT))
    value = narrowed(site, y, integer(node, "low"), integer(node, "high"))
    site.nests.add("out", full, Store(output, place_of(shape, index), value))
    return site.kernel("norm", axes=axes)


def _padded(site: Site, place: int, index: Sequence[Expr], full: Sequence[LoopAxis]) -> Expr:
    """An element of the weight or the bias, whose axes lie as those of the input do."""
    values, shape = site.value(place), site.output_shape
    first = len(shape) - values.ndim
    kept = [d for d, n in enumerate(values.shape) if n == shape[first + d]]
    dims = {index[first + d]: at for at, d in enumerate(kept)}
    axes = [axis for axis in full if axis.var in dims]
    values = values.reshape([values.shape[d] for d in kept])
    values = values.transpose([dims[axis.var] for axis in axes])
    room = [(0, axis.extent - n) for axis, n in zip(axes, values.shape, strict=True)]
    name = "bias" if place == 2 else "weight"
    return site.constant(name, np.pad(values, room), of=place)[variables(axes)]


def _shr(a: Expr, b: Expr | int, shift: int) -> Expr:
    other = const(b, i32) if isinstance(b, int) else b
    return make("rounding_mul_shr", a, other, const(shift, i32))


def _mean(node: Node, total: Expr) -> Expr:
    return _shr(total, integer(node, "mean_mult"), integer(node, "mean_shift"))


def _power(site: Site, s1: Expr, s2: Expr, a: Expr, count: int) -> Expr:
    """D * (variance + eps) * 2**h."""
    h = integer(site.node, "h")
    eps = site.number("eps", integer(site.node, "eps"), OFFSET)
    b = s1 - a * count
    squares = s2 - a * s1 - a * b
    whole = site.node.attrs["center"] is not None
    if h >= 0:
        power = squares << h if whole else (squares << h) - _mean(site.node, (b * b) << h)
    else:
        most = squares if whole else squares - _mean(site.node, b * b)
        power = make("rounding_shr", most, const(-h, i32))
    return maximum(power + eps, 1)


def _normalized(node: Node, power: Expr) -> tuple[Expr, Expr]:
    """``power`` with its first or second bit in place, and 2**k of the k pairs that it went."""
    scale: Expr = const(1, i32)
    for step in halves(room(integer(node, "h"), integer(node, "eps"))):
        small = power < (1 << (31 - 2 * step))
        power = select(small, minimum(power, LIMIT >> 2 * step) << 2 * step, power)
        scale = select(small, scale << step, scale)
    return power, scale


def _root(node: Node, power: Expr) -> Expr:
    """2**29 over the square root of the normalized power over 2**31."""
    v, _ = _normalized(node, power)
    u = const(GUESS[0], i32) - _shr(v, GUESS[1], 31)
    for _ in range(STEPS):
        part = const(3 << 27, i32) - _shr(v, _shr(u, u, 31), 31)
        u = _shr(u, part << 2, 31) << 1
    return u


def _scale(node: Node, power: Expr) -> Expr:
    return _normalized(node, power)[1]


def turned(node: Node, rank: int, places: Mapping[int, int]) -> Mapping[str, Any] | None:
    """The last axis is the innermost one where there are three."""
    own = integer(node, "span") <= integer(node, "axes") < 3
    return node.attrs if rank == 4 and own else None


Q_LAYER_NORM = Integer(
    "q_layer_norm",
    ("u8", "i32", "i32"),
    evaluate,
    shape_of,
    lower,
    turning=Turning(turned, lambda node, shape: 40 if len(shape) == 4 else 10, ranked=True),
)
SPECS = (
    Spec(
        "layer_norm",
        aten=(Aten(("layer_norm",), aten_layer_norm, whole=True),),
        meaning=layer_norm,
        quantize=quantize,
        integer=Q_LAYER_NORM,
        clamped=True,
        weighted=lambda *_: True,
    ),
    Spec(
        "rms_norm",
        aten=(Aten(("rms_norm",), aten_rms_norm, whole=True),),
        meaning=rms_norm,
        quantize=quantize,
        integer=Q_LAYER_NORM,
        clamped=True,
        weighted=lambda *_: True,
    ),
)
