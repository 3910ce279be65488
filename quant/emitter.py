"""The integer graph as it grows: what operators write their quantized forms through.

Emitter(source, affines, mode, target).write(step)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..graph.emitting import FloatStep
from ..graph.float_graph import evaluate
from ..graph.graph import Affine, Array, Graph, Node, Requant, TensorType
from ..graph.integer import infer_shape
from ..graph.operators import QUANTIZED
from ..graph.operators.table import LOOKUP
from .affine import bounds, quantize_array
from .errors import QuantizationError
from .fixed import fixed_requant
from .weights import quantize_weights


@dataclass(frozen=True, slots=True)
class GraphEmitter:
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
        step: FloatStep,
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

    def requant(self, step: FloatStep, scales: Sequence[float], bound: int) -> Requant:
        """acc * scales, in reals, to the step's output."""
        output = self.affines[step.output]
        steps = [scale / output.scale for scale in scales]
        made = fixed_requant(steps, output, bound, self.limits(step), self.mode)
        return replace(made, clamped=step.low > -math.inf or step.high < math.inf)

    def limits(self, step: FloatStep) -> tuple[int, int]:
        """The step's clamp in steps of its output."""
        return bounds(step.low, step.high, self.affines[step.output])

    def quantized(self, values: Array, of: Affine) -> NDArray[np.uint8]:
        """Reals as steps of a map, rounded to even and saturated."""
        return quantize_array(values, of)

    def as_output(self, step: FloatStep, name: str) -> str:
        """The input ``name`` under the output's map, by a table where its own map differs."""
        of, wanted = self.affines[name], self.affines[step.output]
        if name in self.source.constants and of != wanted:
            made = self.constant(name, quantize_array(self.source.constants[name], wanted))
            self.target.types[made] = replace(self.target.types[made], affine=wanted)
            return made
        if of == wanted:
            return self.tensor(name)
        table = quantize_array((np.arange(256.0) - of.zero_point) * of.scale, wanted)
        names = [self.tensor(name), self.constant(f"{name}.table", table)]
        return self.node(step, LOOKUP.name, names, {}, f"{name}.rescaled")

    def known(self, step: FloatStep) -> list[Array]:
        """The values of weight and bias, which must be constants."""
        for name in step.inputs[1:]:
            if name not in self.source.constants:
                raise self.refused(
                    f"{step.op} {step.output}: weight and bias must be constants, "
                    f"but {name} is computed; write it as matmul and add"
                )
        return [self.source.constants[name] for name in step.inputs[1:]]

    def weighted(
        self, step: FloatStep, op: str, weight: Array, bias: Array | None, output: str = ""
    ) -> str:
        """Append ``op`` with weights in i8, output channels first, and a bias in i32."""
        x = self.affines[step.inputs[0]]
        made = quantize_weights(step.output, weight, bias, x)
        names = (
            self.tensor(step.inputs[0]),
            self.constant(f"{step.output}.weight", made.weight),
            self.constant(f"{step.output}.bias", made.bias),
        )
        requant = self.requant(step, [x.scale * scale for scale in made.scales], made.bound)
        attrs = {**step.attrs, "x_zero": x.zero_point, "requant": requant}
        return self.node(step, op, names, attrs, output)

    def composed(self, step: FloatStep) -> Array:
        """What the step's body makes of each of the 256 values of its input, in reals."""
        import torch

        (root,) = step.inputs
        of = self.affines[root]
        values = {root: torch.from_numpy((np.arange(256.0) - of.zero_point) * of.scale)}
        for node in step.body:
            for name in node.inputs:
                if name in self.source.constants:
                    scalar = self.source.constants[name].astype(np.float64).reshape(())
                    values[name] = torch.from_numpy(scalar)
            values[node.output] = evaluate(node.op, [values[n] for n in node.inputs], node.attrs)
        return values[step.body[-1].output].numpy()

    def refused(self, sentence: str) -> QuantizationError:
        """The error to raise where there is no integer form."""
        return QuantizationError(sentence)

    def write(self, step: FloatStep) -> None:
        """The nodes of a step, by the quantized form of its operator."""
        quantize = QUANTIZED[step.op].quantize
        assert quantize is not None
        quantize(self, step)
