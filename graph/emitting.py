"""Through what operators write their quantized forms: steps of a float graph, and an emitter.

    def quantize(emit: Emitter, step: Step) -> None:
        names = [emit.tensor(step.inputs[0]), emit.constant(f"{step.output}.table", table)]
        emit.node(step, "lookup", names, {})

``quant`` makes the steps, chooses the affine maps and is the emitter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .graph import Affine, Array, Graph, Node, Requant


@dataclass(frozen=True, slots=True)
class FloatStep:
    """A float operator (or a ``table`` of ``body``'s operators) with the clamp behind it."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    low: float = -math.inf
    high: float = math.inf
    body: tuple[Node, ...] = ()
    origin: str = ""


class Emitter(Protocol):
    """The integer graph as it grows, and the affine maps of the float graph's tensors."""

    @property
    def source(self) -> Graph:
        """The float graph."""

    @property
    def affines(self) -> Mapping[str, Affine]:
        """The map of each tensor of it that is u8."""

    def tensor(self, name: str) -> str:
        """A u8 input of a node; a float constant is quantized at its first use."""

    def as_output(self, step: FloatStep, name: str) -> str:
        """The input ``name`` under the output's affine map, by a table where its own differs."""

    def constant(self, name: str, values: Array) -> str:
        """A weight, bias or table (u8, i8, i32) under ``name``, made longer where it is taken."""

    def known(self, step: FloatStep) -> list[Array]:
        """The values of all inputs behind the first, which must be constants."""

    def quantized(self, values: Array, of: Affine) -> NDArray[np.uint8]:
        """Reals as steps of a map, rounded to even and saturated."""

    def composed(self, step: FloatStep) -> Array:
        """What the step's body makes of each of the 256 values of its input, in reals."""

    def limits(self, step: FloatStep) -> tuple[int, int]:
        """The step's clamp in steps of its output."""

    def requant(self, step: FloatStep, scales: Sequence[float], bound: int) -> Requant:
        """acc * scales, in reals, to the step's output; ``bound`` is the largest |acc|."""

    def weighted(
        self, step: FloatStep, op: str, weight: Array, bias: Array | None, output: str = ""
    ) -> str:
        """Append ``op`` with weights in i8, output channels first, and a bias in i32."""

    def node(
        self,
        step: FloatStep,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, Any],
        output: str = "",
        of: Affine | None = None,
    ) -> str:
        """Append an integer node; its output has the step's affine map or ``of``.

        ``output`` names a tensor that the float graph does not have.
        """

    def refused(self, sentence: str) -> Exception:
        """The error to raise where there is no integer form."""


class PartialSums(Protocol):
    """A float graph as it grows, in which sums that i32 cannot hold become sums of parts."""

    @property
    def longest(self) -> int:
        """Elements of a sum of u8."""

    def shape(self, name: str) -> tuple[int, ...]:
        """That of a tensor."""

    def keep(self, node: Node) -> None:
        """Append the node."""

    def append(self, node: Node, op: str, inputs: tuple[str, ...], **attrs: object) -> str:
        """Append a float operator whose result is a part of the node's; gives its tensor."""

    def refused(self, sentence: str) -> Exception:
        """The error to raise where there are no such parts."""


def zero_and_reach(of: Affine) -> tuple[int, int]:
    """The zero point and the largest |q - zero_point|."""
    return of.zero_point, max(of.zero_point, 255 - of.zero_point)


def move_values(emit: Emitter, step: FloatStep) -> None:
    """The quantized form of what only moves values: all of them under the output's map."""
    emit.node(step, step.op, [emit.as_output(step, name) for name in step.inputs], step.attrs)
