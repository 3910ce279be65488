"""The part of each tensor's range that its readers tell apart: values outside may saturate.

    max_pool2d(pad(x, -1e9))  ->  nothing below the least result:  -1e9 is like any other low end
    clamp(cat(x, y), 0, 6)    ->  [0, 6]

A model's inputs and outputs and the results of a softmax keep all of their range. So does a tensor
whose map would not become finer by a bit: inputs that calibration did not see may need the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..graph.emitting import FloatStep
from ..graph.graph import Graph
from ..graph.operators import BY_NAME, FLOATS
from .observe import Range, union, width
from .plan import activations

ALL = (-math.inf, math.inf)


def needed(
    graph: Graph, steps: Sequence[FloatStep], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """``ranges`` without the parts that no reader needs."""
    kept = {*graph.inputs, *graph.outputs}
    found = {name: ranges[name] for name in kept}
    for step in reversed(steps):
        if BY_NAME[step.op].probabilities:
            kept.add(step.output)
        for name in activations(graph, step):
            if name in kept:
                continue
            part = _common(_read(step, name, found), ranges[name])
            found[name] = union(part, found.get(name, part))
    return {name: _worth(whole, found.get(name, whole)) for name, whole in ranges.items()}


def _worth(whole: Range, part: Range) -> Range:
    return part if 2 * width(part) <= width(whole) else whole


def _read(step: FloatStep, name: str, found: Mapping[str, Range]) -> Range:
    """The range in which the step tells values of ``name`` apart; ``ALL`` has infinite ends."""
    if BY_NAME[step.op].moves:
        return found[step.output]
    readers = [node for node in step.body if name in node.inputs]
    clamps = [(FLOATS[node.op].limits, node.attrs) for node in readers]
    limits = [ends(attrs) for ends, attrs in clamps if ends]
    if clamps and len(limits) == len(clamps):
        return union(*limits)
    return ALL


def _common(part: Range, whole: Range) -> Range:
    low = min(max(part[0], whole[0]), whole[1])
    return low, max(min(part[1], whole[1]), low)
