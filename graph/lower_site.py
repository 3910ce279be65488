"""What every lowering needs of a node: its operands as buffers, its requantization, its kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..tir.expr import Expr, cast, clamp, make, maximum, minimum, sat_cast
from ..tir.stmt import Buffer, PrimFunc
from ..tir.types import Type, i16, i32, parse_type, u8
from .attributes import integer
from .errors import UnsupportedModel
from .forms import FILL, HIGH, LOW, MULTIPLIER, SHIFT, ZERO, Classes, number
from .graph import Array, Graph, Node, Requant
from .kernels import Kernel
from .lower_nest import Nests
from .physical import Image, Shape, meant, pack, physical
from .requantize import WIDE
from .spec import Integer

LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class Behind:
    """A node that works element by element on the results of the one before it, ``made``."""

    node: Node
    spec: Integer
    made: str


@dataclass(slots=True)
class Site:
    """One node on its way to a kernel: buffers are declared here, steps written to ``nests``."""

    graph: Graph
    node: Node
    spec: Integer
    stored_shapes: Mapping[str, Shape]
    nests: Nests = field(default_factory=Nests)
    tensors: dict[str, Buffer] = field(default_factory=dict)  # activations read, by tensor
    fixed: dict[str, Buffer] = field(default_factory=dict)  # constant activations, by tensor
    constants: dict[Buffer, Array] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)  # inputs that constants are made from
    shapes: dict[str, Shape] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    bands: dict[str, tuple[int, int]] = field(default_factory=dict)  # of all numbers, by name
    behind: tuple[Behind, ...] = ()  # what else is made of its results
    prefix: str = ""  # of the names of numbers, which differ from those of other nodes
    joined: bool = False  # whether the rows of each image, which have no pads, are taken as one

    def number(self, name: str, value: int, classes: Classes, kind: Type = i32) -> Expr:
        """A number of the kernel, known to its code by its class alone (``graph/forms.py``)."""
        name = self.prefix + name
        found = number(name, value, classes, kind)
        self.bands[name] = classes.band(value)
        if not found.is_const:
            self.numbers[name] = value
        return found

    def zero(self, attr: str, kind: Type = i32) -> Expr:
        """A zero point of the node that is subtracted."""
        return self.number(attr, integer(self.node, attr), ZERO, kind)

    def fill(self, attr: str) -> Expr:
        """A byte of the node that fills padding: a zero point, or the value of a pad."""
        return self.number(attr, integer(self.node, attr), FILL, u8)

    def shape(self, name: str) -> Shape:
        return self.graph.types[name].shape

    def stored(self, name: str) -> Shape:
        """The shape in whose form a tensor is stored."""
        return self.stored_shapes[name]

    @property
    def output_shape(self) -> Shape:
        return self.shape(self.node.output)

    def input(self, position: int, name: str) -> Buffer:
        """The activation at ``position``, called ``name`` unless it has been read already."""
        tensor = self.node.inputs[position]
        known = self.tensors.get(tensor) or self.fixed.get(tensor)
        if known:
            return known
        shape = self.shapes[name] = self.stored(tensor)
        if tensor in self.graph.constants:
            array = pack(self.graph.constants[tensor], shape)
            self.fixed[tensor] = self.constant(name, array)
            return self.fixed[tensor]
        self.tensors[tensor] = Buffer(name, u8, self._image(physical(shape)))
        return self.tensors[tensor]

    def output(self) -> Buffer:
        return Buffer("y", u8, self._image(physical(self.stored(self.node.output))))

    def made(self, value: Expr, where: tuple[Expr, ...]) -> Expr:
        """What is stored at a place of the output: ``value``, or what nodes behind make of it."""
        for at, behind in enumerate(self.behind):
            site = replace(self, node=behind.node, spec=behind.spec, prefix=f"then{at or ''}_")
            operands = [
                value if name == behind.made else site.input(position, f"other{at or ''}")[where]
                for position, name in enumerate(behind.node.inputs)
            ]
            assert behind.spec.point is not None
            value = behind.spec.point(site)(*operands)
        return value

    def _image(self, sizes: Image) -> Image:
        images, rows, columns, channels = sizes
        return (images, 1, rows * columns, channels) if self.joined else sizes

    def constant(self, name: str, values: Array, of: int | None = None) -> Buffer:
        """A constant of the kernel, perhaps made from the input ``of``."""
        if of is not None:
            self.sources[name] = of
        short = {"u": "u", "i": "i"}[values.dtype.kind] + str(values.dtype.itemsize * 8)
        buffer = Buffer(name, parse_type(short), values.shape)
        self.constants[buffer] = np.ascontiguousarray(values)
        return buffer

    def value(self, position: int) -> Array:
        """A constant input's values."""
        name = self.node.inputs[position]
        if name not in self.graph.constants:
            raise UnsupportedModel(
                f"{self.node.op} {self.node.output}: weights, biases and tables must be constants, "
                f"but {name} is computed; fold it into a constant"
            )
        return self.graph.constants[name]

    def kernel(self, kind: str, **attrs: object) -> Kernel:
        """The finished kernel."""
        node = self.node
        shapes = [self.shape(name) for name in node.inputs]
        count = self.spec.products(node, shapes, self.output_shape)
        self.shapes["y"] = self.stored(self.node.output)
        params = (*self.tensors.values(), *self.constants, self.output())
        real = {name: self._image(meant(shape)) for name, shape in self.shapes.items()}
        facts = {"kind": kind, "op": node.op, "macs": count, "shapes": dict(self.shapes),
                 "meant": real, **attrs}  # fmt: skip
        values = {buffer.name: array for buffer, array in self.constants.items()}
        func = PrimFunc(node.op, params, self.nests.body(), values, facts, self.numbers)
        known = {n for n in node.inputs if n in self.graph.constants}
        weight_bytes = sum(self.graph.constants[n].nbytes for n in known)
        return Kernel(node.output, kind, func, tuple(self.tensors), node.output, count,
                      weight_bytes, node.origin, self.bands, self.sources)  # fmt: skip


def require_single(node: Node) -> None:
    """Kernels requantize in mode ``single``; one sentence for any other."""
    requant = node.attrs.get("requant")
    if isinstance(requant, Requant) and requant.mode != "single":
        raise UnsupportedModel(
            f"{node.op} {node.output}: compiled kernels requantize in integers by mode 'single', "
            f"but got mode {requant.mode!r}; quantize with mode='single'"
        )


def requantized(site: Site, requant: Requant, acc: Expr, multiplier: Expr, bound: int) -> Expr:
    """The u8 value of an accumulator of magnitude up to ``bound``, or its i32 one where it is
    rounded later."""
    node, left = site.node, requant.left
    if bound >= LIMIT:
        raise UnsupportedModel(
            f"{node.op} {node.output}: accumulators must fit i32, but they can reach {bound}; "
            "split the reduction into smaller ones"
        )
    limit = (LIMIT - 1) >> left
    held = acc if bound <= limit else clamp(acc, -limit, limit)
    shift = site.number("shift", requant.shift, SHIFT)
    scaled = make("rounding_mul_shr", held << left if left else held, multiplier, shift)
    site.bands["left"] = (left, left)
    if requant.mode == WIDE:
        return scaled
    zero = requant.zero_point
    if requant.shift > 31 or not zero:
        total = with_zero(site, scaled, "add", zero)
    else:  # the scaled value may reach the ends of i32: the sum saturates in i16
        total = with_zero(site, sat_cast(i16, scaled), "sat_add", zero)
    return narrowed(site, total, requant.low, requant.high)


def with_zero(site: Site, value: Expr, op: str, zero: int) -> Expr:
    """The output's zero point added to ``value`` by ``op``."""
    amount = site.number("zero", zero, ZERO, value.type)
    return make(op, value, amount) if zero else value


def narrowed(site: Site, value: Expr, low: int, high: int) -> Expr:
    """``clamp(value, low, high)`` as u8."""
    kind = value.type
    least, most = site.number("low", low, LOW, kind), site.number("high", high, HIGH, kind)
    return cast(u8, maximum(minimum(value, most), least))


def common_multiplier(site: Site, requant: Requant) -> Expr:
    """The one multiplier of the whole tensor."""
    return site.number("multiplier", requant.multiplier[0], MULTIPLIER)


def per_channel(values: Sequence[int] | Array, channels: int, stored: int) -> Array:
    """One i32 a stored channel; a single value goes to every channel, pads are 0."""
    out = np.zeros(stored, np.int32)
    wide = np.broadcast_to(np.asarray(values, np.int64), (channels,))
    out[:channels] = wide.astype(np.int32)
    return out
