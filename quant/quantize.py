"""From a float graph and calibration data to the integer graph.

integer = quantize(graph, [[batch] for batch in batches])
outputs = evaluate(integer, [quantize_array(x, integer.types[integer.inputs[0]].affine)])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..graph.emitting import FloatStep
from ..graph.graph import Affine, Array, Graph, TensorType
from ..graph.integer import verify
from ..graph.operators import QUANTIZED
from .affine import affine
from .calibrate import ranges
from .emitter import GraphEmitter
from .errors import QuantizationError
from .given_graphs import require_graph
from .long_sums import short_sums
from .need import needed
from .plan import plan
from .recipe import DEFAULT_RECIPE, Recipe
from .share import share


def quantize(
    graph: Graph,
    calibration: Iterable[Sequence[Array]],
    recipe: Recipe = DEFAULT_RECIPE,
) -> Graph:
    """The integer graph of ``graph``: u8 inputs and outputs, each with its affine map.

    A calibration batch has one float array an input.
    """
    require_graph("quantize", graph)
    recipe = Recipe.require("quantize: the recipe", recipe)
    graph = short_sums(graph)
    steps = plan(graph)
    _check(steps)
    affines = choose(graph, steps, calibration, recipe.observer)
    return _emit(graph, steps, affines, recipe.mode)


def choose(
    graph: Graph,
    steps: Sequence[FloatStep],
    calibration: Iterable[Sequence[Array]],
    observer: str,
) -> dict[str, Affine]:
    """The affine map of each tensor that will be u8."""
    found = ranges(graph, steps, calibration, observer)
    shared = share(graph, steps, needed(graph, steps, found))
    return {name: affine(*limits) for name, limits in shared.items()}


def _check(steps: Sequence[FloatStep]) -> None:
    unknown = sorted({step.op for step in steps if step.op not in QUANTIZED})
    if unknown:
        raise QuantizationError(
            f"quantize: has integer forms of {', '.join(QUANTIZED)}, but got {', '.join(unknown)}"
        )


def _emit(graph: Graph, steps: Sequence[FloatStep], affines: dict[str, Affine], mode: str) -> Graph:
    target = Graph(graph.name, list(graph.inputs), list(graph.outputs))
    for name in graph.inputs:
        target.types[name] = TensorType(graph.types[name].shape, "u8", affines[name])
    emitter = GraphEmitter(graph, affines, mode, target)
    for step in steps:
        emitter.write(step)
    for name in graph.outputs:
        emitter.tensor(name)
    verify(target)
    return target
