"""From a float graph and calibration data to the integer graph.

integer = quantize(graph, [[batch] for batch in batches])
outputs = evaluate(integer, [quantize_array(x, integer.types[integer.inputs[0]].affine)])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..graph.graph import Array, Graph
from .calibrate import graph_batches
from .draft import ALGORITHMS, Draft
from .given_graphs import require_graph
from .recipe import DEFAULT_RECIPE, Recipe


def quantize(
    graph: Graph,
    calibration: Iterable[Sequence[Array]],
    recipe: Recipe = DEFAULT_RECIPE,
) -> Graph:
    """The integer graph of ``graph``: u8 inputs and outputs, each with its affine map.

    A calibration batch has one float array an input. Batches are kept where an algorithm of the
    recipe goes through them again.
    """
    require_graph("quantize", graph)
    recipe = Recipe.require("quantize: the recipe", recipe)
    batches = graph_batches(graph, calibration)
    kept = list(batches) if recipe.algorithms else batches
    draft = Draft(graph, {}, kept, recipe.observer, recipe.mode).calibrated(graph)
    for name in recipe.algorithms:
        draft = ALGORITHMS[name](draft)
    return draft.integer()
