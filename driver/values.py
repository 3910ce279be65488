"""What a kernel must compute: what a run finds in memory, and how what it left differs.

values = OperatorValues(kernel, graph)
values.difference(run_program(program, values.stored))      # "" if all bytes are right
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..graph.evaluate import evaluate_node
from ..graph.graph import Array, Graph
from ..graph.kernels import Kernel
from ..graph.physical import pack, unpack
from ..tir.stmt import PrimFunc
from .run_operands import Operands
from .samples import differing, fixed_input

_PAD = 77  # a byte on which no result may depend


class Values(ABC):
    """Fixed values in a kernel's memory, and what it must leave there."""

    @property
    @abstractmethod
    def stored(self) -> list[Array]:
        """What a run finds in memory: an array for each parameter that is not constant."""

    @abstractmethod
    def difference(self, stored: Sequence[Array]) -> str:
        """How arrays that a run left differ from what the kernel must compute; "" if they do not.
        The run began with ``self.stored``."""


@dataclass
class OperatorValues(Values):
    """Those of the kernel of ``graph``, which has one node, by the node's evaluator."""

    kernel: Kernel
    graph: Graph

    @cached_property
    def expected(self) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
        """Fixed inputs of the node, and the evaluator's bytes for them."""
        rng, names = np.random.default_rng(0), self.kernel.inputs
        arrays = [fixed_input(rng, self.graph.types[name].shape) for name in names]
        values = dict(zip(names, arrays, strict=True))
        result = evaluate_node(self.graph, self.graph.nodes[0], values)
        return arrays, np.asarray(result, np.uint8)

    @property
    def stored(self) -> list[Array]:
        """The inputs as images in memory, with their pads."""
        func, names = self.kernel.func, self.kernel.inputs
        *inputs, output = [p for p in func.params if p.name not in func.constants]
        images = [
            pack(array, self.graph.types[name].shape, _PAD).reshape(param.shape)
            for param, name, array in zip(inputs, names, self.expected[0], strict=True)
        ]
        return [*images, np.zeros(output.shape, output.type.numpy)]

    def difference(self, stored: Sequence[Array]) -> str:
        shape = self.graph.types[self.kernel.output].shape
        return differing(unpack(stored[-1], shape), self.expected[1])


@dataclass
class InterpretedValues(Values):
    """Those of a kernel that a person wrote, by the interpreter."""

    func: PrimFunc

    @cached_property
    def operands(self) -> Operands:
        return Operands(self.func)

    @cached_property
    def trial(self) -> tuple[list[Array], list[Array]]:
        """Fixed numbers in memory, and what the interpreter leaves there."""
        return self.operands.trial()

    @property
    def stored(self) -> list[Array]:
        return self.trial[0]

    @property
    def expected(self) -> list[Array]:
        """What the interpreter leaves in the outputs, if it begins with ``stored``."""
        return self.operands.results(self.trial[1])

    def difference(self, stored: Sequence[Array]) -> str:
        left = self.operands.results(stored)
        pairs = zip(self.operands.outputs, left, self.expected, strict=True)
        found = {param.name: differing(got, wanted) for param, got, wanted in pairs}
        return "; ".join(f"{name}: {text}" for name, text in found.items() if text)
