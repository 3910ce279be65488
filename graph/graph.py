"""The operator graph: one node an operator, in topological order, shapes static, tensors named.

Tensors keep PyTorch's logical shapes (NCHW images). In a float graph every tensor is ``f32``; in
an integer graph an activation is ``u8`` with the affine parameters ``real = scale * (q - zero)``.
What an operator means, and which attributes it takes, is its row in ``graph/operators.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Affine:
    """real = scale * (q - zero_point), one pair for the whole tensor."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape, element (``f32``, ``u8``, ``i8``, ``i32``) and, if quantized, the affine map."""

    shape: tuple[int, ...]
    element: str = "f32"
    affine: Affine | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Requant:
    """i32 accumulator -> u8, per output channel: the integer contract's ``requantize``.

    ``single``: clamp(((acc * multiplier + 2**(shift-1)) >> shift) + zero_point, low, high) on the
    exact product. multiplier: int32 (channels,) or (1,), each in [0, 2**31); shift in 1..62.
    ``float``: clamp(rint(f32(acc) * f32(scale)) + zero_point). ``tflite``: doubling high multiply
    (saturating, rounding), then a rounding shift right, ties away from zero.
    ``left`` shifts the accumulator before the product (scales >= 1); what would not fit into i32
    is cut first, to +-((2**31 - 1) >> left).
    """

    multiplier: tuple[int, ...]
    shift: int
    zero_point: int
    low: int = 0
    high: int = 255
    mode: str = "single"
    scale: tuple[float, ...] = ()
    left: int = 0
    clamped: bool = False  # whether ends of u8 may be those of a clamp, beside low and high


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: ``output`` is the tensor it defines, ``inputs`` those it reads, in order."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, object] = field(default_factory=dict)
    origin: str = ""


@dataclass(slots=True)
class Graph:
    """Nodes in topological order; ``types`` has every tensor, ``constants`` the known values."""

    name: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)

    def without_nodes(self) -> Graph:
        """A graph of the same inputs, outputs, types and constants, to which nodes are added."""
        types, constants = dict(self.types), dict(self.constants)
        return Graph(self.name, self.inputs, self.outputs, types=types, constants=constants)

    def users(self, tensor: str) -> Iterator[Node]:
        """The nodes that read ``tensor``."""
        return (node for node in self.nodes if tensor in node.inputs)

    def read_counts(self) -> Counter[str]:
        """How often nodes read each tensor, and the model gives it."""
        return Counter([name for node in self.nodes for name in node.inputs] + self.outputs)

    def fresh(self, name: str) -> str:
        """A name like ``name`` that no tensor has."""
        while name in self.types:
            name += "_"
        return name

    def add_constant(self, base: str, value: Array) -> str:
        """Enter ``value`` as float32 under ``base``, numbered where that is taken; its name."""
        name, count = base, 0
        while name in self.types:
            count += 1
            name = f"{base}.{count}"
        with np.errstate(over="ignore"):  # an infinity is reported by its name
            self.constants[name] = (
                np.ascontiguousarray(value).astype(np.float32).reshape(value.shape)
            )
        self.types[name] = TensorType(value.shape)
        return name

    def __str__(self) -> str:
        def spell(name: str) -> str:
            kind = self.types[name]
            return f"{name}: {kind.element}[{', '.join(map(str, kind.shape))}]"

        head = f"graph {self.name}({', '.join(map(spell, self.inputs))})"
        lines = [
            f"  {spell(n.output)} = {n.op}({', '.join(n.inputs)})"
            + "".join(f" {key}={value}" for key, value in n.attrs.items())
            for n in self.nodes
        ]
        return "\n".join([head, *lines, f"  return {', '.join(self.outputs)}"])
