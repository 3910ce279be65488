"""A float graph with the affine map of each tensor: what an integer graph is made of.

    draft = Draft(graph, {}, batches, observer, mode).calibrated(graph)
    draft.integer()                  # the integer graph
    draft.calibrated(other)          # another float graph, its maps chosen by its own
    replace(draft, graph=same)       # other weights under the same maps

Algorithms turn drafts into drafts (``algorithms/``): each may run the float graph and the integer
graph on the batches before it changes either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..graph.emitting import FloatStep
from ..graph.graph import Affine, Array, Graph, TensorType
from ..graph.integer import verify
from ..graph.operators import QUANTIZED
from ..options.registry import Registry
from .affine import affine
from .calibrate import ranges
from .emitter import GraphEmitter
from .errors import QuantizationError
from .long_sums import short_sums
from .need import needed
from .plan import plan
from .share import share


@dataclass(frozen=True, slots=True)
class Draft:
    """A float graph, the maps of the tensors that will be u8, and where they come from.

    ``batches`` have one float array an input each; an algorithm may go through them many times.
    Tensors keep the names that they have in the model's own float graph; one whose values an
    algorithm changes gets another name, for layers are compared by names.
    """

    graph: Graph
    affines: Mapping[str, Affine]
    batches: Iterable[Sequence[Array]]
    observer: str
    mode: str

    def calibrated(self, graph: Graph) -> Draft:
        """The draft of another float graph, whose maps are chosen by what its tensors hold."""
        graph = short_sums(graph)
        steps = plan(graph)
        _check(steps)
        found = ranges(graph, steps, self.batches, self.observer)
        shared = share(graph, steps, needed(graph, steps, found))
        affines = {name: affine(*limits) for name, limits in shared.items()}
        return replace(self, graph=graph, affines=affines)

    @property
    def steps(self) -> list[FloatStep]:
        """What will be one integer operator each, or a few."""
        return plan(self.graph)

    def integer(self) -> Graph:
        """The integer graph: u8 inputs and outputs, each with its affine map."""
        graph, affines = self.graph, dict(self.affines)
        target = Graph(graph.name, list(graph.inputs), list(graph.outputs))
        for name in graph.inputs:
            target.types[name] = TensorType(graph.types[name].shape, "u8", affines[name])
        emitter = GraphEmitter(graph, affines, self.mode, target)
        for step in self.steps:
            emitter.write(step)
        for name in graph.outputs:
            emitter.tensor(name)
        verify(target)
        return target


def _check(steps: Sequence[FloatStep]) -> None:
    unknown = sorted({step.op for step in steps if step.op not in QUANTIZED})
    if unknown:
        raise QuantizationError(
            f"quantize: has integer forms of {', '.join(QUANTIZED)}, but got {', '.join(unknown)}"
        )


ALGORITHMS = Registry[Callable[[Draft], Draft]]()
