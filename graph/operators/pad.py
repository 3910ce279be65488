"""pad with one value; a negative amount cuts.

pad(x u8) padding value:  ``padding`` has (before, after) for each axis
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...tir.stmt import Store
from ..aten import cut
from ..aten_take import take
from ..attributes import Pair, Shape, integer, require
from ..emitting import Emitter, FloatStep
from ..errors import Unsupported
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_move import held
from ..lower_nest import box, grown, variables
from ..lower_point import logical
from ..lower_site import Site
from ..meanings import padded
from ..physical import place_of
from ..spec import Aten, Integer, Spec, Turning, always

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_pad(
    b: GraphBuilder,
    self: Value,
    pad: Sequence[int],
    value: float | None = None,
    mode: str = "constant",
) -> Value:
    """A negative amount cuts."""
    if mode != "constant":
        return _repeated(b, self, pad, mode)
    rank = len(b.shape(self))
    pads = [(0, 0)] * rank
    for i in range(len(pad) // 2):
        pads[rank - 1 - i] = (pad[2 * i], pad[2 * i + 1])
    for axis, (before, after) in enumerate(pads):
        if min(before, after) < 0:
            extent = b.shape(self)[axis]
            self = cut(b, self, axis, max(-before, 0), extent + min(after, 0))
    grown = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, grown)):
        return self
    return b.emit("pad", self, pads=grown, value=float(value or 0.0))


def _repeated(b: GraphBuilder, x: Value, amounts: Sequence[int], mode: str) -> Value:
    """With elements of the tensor itself, axis by axis."""
    for place, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        axis = len(b.shape(x)) - 1 - place
        extent = b.shape(x)[axis]
        if mode == "reflect":
            found = [abs(i) for i in range(-before, extent + after)]
            numbers = [i if i < extent else 2 * (extent - 1) - i for i in found]
        elif mode == "circular":
            numbers = [i % extent for i in range(-before, extent + after)]
        elif mode == "replicate":
            numbers = [min(max(i, 0), extent - 1) for i in range(-before, extent + after)]
        else:
            raise Unsupported(f"mode {mode}")
        x = take(b, x, axis, numbers)
    return x


def pad(torch: Any, x: Tensor, *, pads: tuple[Pair, ...], value: float) -> Any:
    """``pads`` has (before, after) for each axis, none negative; new elements are ``value``."""
    return padded(torch, x, pads, value)


def quantize(emit: Emitter, step: FloatStep) -> None:
    value = emit.quantized(np.array(step.attrs["value"]), emit.affines[step.output])
    attrs = {"padding": step.attrs["pads"], "value": int(value)}
    emit.node(step, PAD.name, [emit.as_output(step, step.inputs[0])], attrs)


def padding_of(node: Node) -> Sequence[tuple[int, int]]:
    return cast(Sequence[tuple[int, int]], node.attrs["padding"])


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    return np.pad(inputs[0], padding_of(node), constant_values=integer(node, "value"))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    padding = padding_of(node)
    require(len(padding) == len(shapes[0]), node, "padding has a pair an axis", padding)
    return tuple(n + sum(p) for n, p in zip(shapes[0], padding, strict=True))


def turned(node: Node, rank: int, places: Mapping[int, int]) -> Mapping[str, Any] | None:
    padding = padding_of(node)
    if any(any(pair) for axis, pair in enumerate(padding) if axis not in places):
        return None
    moved = [(0, 0)] * (7 - rank)
    for axis, place in places.items():
        moved[place] = padding[axis]
    return {**node.attrs, "padding": tuple(moved)}


def lower(site: Site) -> Kernel:
    shape, output = site.shape(site.node.inputs[0]), site.output()
    x, fill = site.input(0, "x"), site.fill("value")
    padding = padding_of(site.node)
    whole = box(output)
    site.nests.add("fill", whole, Store(output, variables(whole), fill))
    loops, index = logical(shape)
    moved = [at + before if before else at for at, (before, _) in zip(index, padding, strict=True)]
    grows = {index[d] for d, amounts in enumerate(padding) if not any(amounts)}
    fixed = [axis if axis.var in grows else held(axis) for axis in loops]
    store = Store(output, place_of(site.output_shape, moved), x[place_of(shape, index)])
    site.nests.add("copy", grown(fixed, store), store)
    return site.kernel("move", alias=False)


PAD = Integer(
    "pad",
    ("u8",),
    evaluate,
    shape_of,
    lower,
    moves=always,
    turning=Turning(turned, cost=lambda *_: 2),
)
SPECS = (
    Spec(
        "pad",
        aten=(Aten(("pad",), aten_pad, whole=True), Aten(("constant_pad_nd",), aten_pad)),
        meaning=pad,
        quantize=quantize,
        integer=PAD,
        moves=True,
        fill="value",
    ),
)
