"""What every lowering needs of a node: its operands as buffers, its requantization, its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..tir.expr import Expr, cast, clamp, const, make
from ..tir.stmt import Buffer, PrimFunc
from ..tir.types import i32, parse_type, u8
from .errors import UnsupportedModel
from .graph import Array, Graph, Node, Requant
from .integer import macs
from .kernels import Kernel
from .lower_nest import Nests
from .physical import Shape, pack, physical

LIMIT = 1 << 31


@dataclass(slots=True)
class Site:
    """One node on its way to a kernel: buffers are declared here, steps written to ``nests``."""

    graph: Graph
    node: Node
    nests: Nests = field(default_factory=Nests)
    tensors: dict[str, Buffer] = field(default_factory=dict)  # activations read, by tensor
    fixed: dict[str, Buffer] = field(default_factory=dict)  # constant activations, by tensor
    constants: dict[Buffer, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def shape(self, name: str) -> Shape:
        return self.graph.types[name].shape

    @property
    def output_shape(self) -> Shape:
        return self.shape(self.node.output)

    def input(self, position: int, name: str) -> Buffer:
        """The activation at ``position``, called ``name`` unless it has been read already."""
        tensor = self.node.inputs[position]
        known = self.tensors.get(tensor) or self.fixed.get(tensor)
        if known:
            return known
        shape = self.shape(tensor)
        self.shapes[name] = shape
        if tensor in self.graph.constants:
            array = pack(self.graph.constants[tensor], shape)
            self.fixed[tensor] = self.constant(name, array)
            return self.fixed[tensor]
        self.tensors[tensor] = Buffer(name, u8, physical(shape))
        return self.tensors[tensor]

    def output(self) -> Buffer:
        return Buffer("y", u8, physical(self.output_shape))

    def constant(self, name: str, values: Array) -> Buffer:
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
        node, count = self.node, macs(self.graph, self.node)
        self.shapes["y"] = self.output_shape
        params = (*self.tensors.values(), *self.constants, self.output())
        facts = {"kind": kind, "op": node.op, "macs": count, "shapes": dict(self.shapes), **attrs}
        values = {buffer.name: array for buffer, array in self.constants.items()}
        func = PrimFunc(node.op, params, self.nests.body(), values, facts)
        known = {n for n in node.inputs if n in self.graph.constants}
        weight_bytes = sum(self.graph.constants[n].nbytes for n in known)
        return Kernel(node.output, kind, func, tuple(self.tensors), node.output, count,
                      weight_bytes, node.origin)  # fmt: skip


def require_single(node: Node) -> None:
    """Kernels requantize in mode ``single``; one sentence for any other."""
    requant = node.attrs.get("requant")
    if isinstance(requant, Requant) and requant.mode != "single":
        raise UnsupportedModel(
            f"{node.op} {node.output}: compiled kernels requantize in integers by mode 'single', "
            f"but got mode {requant.mode!r}; quantize with mode='single'"
        )


def requantized(node: Node, requant: Requant, acc: Expr, multiplier: Expr, bound: int) -> Expr:
    """The u8 value of an accumulator of magnitude up to ``bound``."""
    if bound >= LIMIT:
        raise UnsupportedModel(
            f"{node.op} {node.output}: accumulators must fit i32, but they can reach {bound}; "
            "split the reduction into smaller ones"
        )
    limit = (LIMIT - 1) >> requant.left
    held = acc if bound <= limit else clamp(acc, -limit, limit)
    reach = min(bound, limit) << requant.left
    value = held << requant.left if requant.left else held
    scaled = make("rounding_mul_shr", value, multiplier, const(requant.shift, i32))
    zero, low, high = requant.zero_point, requant.low, requant.high
    largest = (reach * max(requant.multiplier) >> requant.shift) + 1
    if largest + 255 < LIMIT:
        return cast(u8, clamp(scaled + zero, low, high) if zero else clamp(scaled, low, high))
    # The scaled value may reach the ends of i32: clamp before the zero point is added.
    return cast(u8, clamp(scaled, low - zero, high - zero) + zero)


def common_multiplier(requant: Requant) -> Expr:
    """The one multiplier of the whole tensor."""
    return const(requant.multiplier[0], i32)


def per_channel(values: Sequence[int] | Array, channels: int, stored: int) -> Array:
    """One i32 a stored channel; a single value goes to every channel, pads are 0."""
    out = np.zeros(stored, np.int32)
    wide = np.broadcast_to(np.asarray(values, np.int64), (channels,))
    out[:channels] = wide.astype(np.int32)
    return out
