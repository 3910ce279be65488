"""The integer graph as it grows: names, types and affine maps of appended nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.graph import Affine, Array, Graph, Node, Requant, TensorType
from ..graph.integer import infer_shape
from .affine import bounds, quantize_array
from .fixed import fixed_requant
from .plan import Step


@dataclass(frozen=True, slots=True)
class Emitter:
    """The float graph, the affine map of each tensor, and the integer graph that grows."""

    source: Graph
    affines: dict[str, Affine]
    mode: str
    target: Graph

    def constant(self, name: str, values: Array) -> str:
        """A weight, bias or table under ``name``, made longer where it is taken."""
        short = {"uint8": "u8", "int8": "i8", "int32": "i32"}[values.dtype.name]
        name = self.fresh(name)
        self.target.constants[name] = values
        self.target.types[name] = TensorType(values.shape, short)
        return name

    def fresh(self, name: str) -> str:
        """``name``, or a longer one that neither graph has."""
        while name in self.source.types or name in self.target.types:
            name += "_"
        return name

    def tensor(self, name: str) -> str:
        """A u8 input of a node; a float constant is quantized at its first use."""
        if name in self.source.constants and name not in self.target.constants:
            values = quantize_array(self.source.constants[name], self.affines[name])
            self.target.constants[name] = values
            self.target.types[name] = TensorType(values.shape, "u8", self.affines[name])
        return name

    def node(
        self,
        step: Step,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, object],
        output: str = "",
        of: Affine | None = None,
    ) -> str:
        """Append a node with its inferred shape; its output has the step's affine map or ``of``.

        ``output`` names a tensor that the float graph does not have.
        """
        name = self.fresh(output) if output else step.output
        made = Node(op, tuple(inputs), name, dict(attrs), step.origin)
        self.target.nodes.append(made)
        shape = infer_shape(self.target, made)
        self.target.types[name] = TensorType(shape, "u8", of or self.affines[step.output])
        return name

    def requant(self, step: Step, scales: Sequence[float], bound: int) -> Requant:
        """acc * scales, in reals, to the step's output."""
        output = self.affines[step.output]
        steps = [scale / output.scale for scale in scales]
        return fixed_requant(steps, output, bound, bounds(step.low, step.high, output), self.mode)


def zero_and_reach(of: Affine) -> tuple[int, int]:
    """The zero point and the largest |q - zero_point|."""
    return of.zero_point, max(of.zero_point, 255 - of.zero_point)
