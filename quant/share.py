"""Which tensors share one affine map: operators that only move values tie input and output.

    reshape(a) -> b:  one map        cat(a, b) -> c:  one map, where nobody wants a finer one

A move of one input holds that input's values, under its map. ``cat``, and ``pad`` with a value that
its input does not reach, need a wider range. An input takes the wider range over where every
reader of it needs a wider range, or where its range grows by ``WORTH`` at most; else it keeps its
own map, and a table rescales it in front of the ``cat`` or ``pad``.

A softmax has a map of its own kind (see ``probabilities.py``), shared with operators that only move
its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.emitting import FloatStep
from ..graph.graph import Graph
from ..graph.operators import BY_NAME
from .observe import Range, union, width, within
from .plan import activations

WORTH = 1.25  # a map this much coarser costs 2 dB: less than a rescaling pays for


def share(
    graph: Graph, steps: Sequence[FloatStep], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """Each tensor of ``ranges`` -> the range of all tensors that share its map."""
    groups = _Groups(ranges, demands(graph, steps, ranges))
    groups.own.update(step.output for step in steps if BY_NAME[step.op].probabilities)
    for step in (step for step in steps if BY_NAME[step.op].moves):
        if not joins(step, ranges):
            groups.tie(step.inputs[0], step.output)
            continue
        for name in _alike(step, groups):
            groups.tie(name, step.output, WORTH)
    return groups.ranges()


def _alike(step: FloatStep, groups: _Groups) -> list[str]:
    """The inputs that may have the output's map."""
    others = [name for name in step.inputs if not groups.is_own(name)]
    return others or (list(step.inputs) if len(step.inputs) > 1 else [])


def joins(step: FloatStep, ranges: Mapping[str, Range]) -> bool:
    """Whether the move's output may hold values outside of an input's range."""
    if BY_NAME[step.op].fill:
        return not within(ranges[step.output], ranges[step.inputs[0]])
    return len(step.inputs) > 1


def demands(
    graph: Graph, steps: Sequence[FloatStep], ranges: Mapping[str, Range]
) -> dict[str, float]:
    """The width of the widest map under which no reader of a tensor loses precision."""
    finest: dict[str, float] = {name: width(ranges[name]) for name in graph.outputs}
    for step in reversed(steps):
        for name in activations(graph, step):
            moves = BY_NAME[step.op].moves
            read = width(ranges[step.output if moves else name])
            if moves:
                read = max(read, finest.get(step.output, read))
            finest[name] = min(read, finest.get(name, read))
    return {name: max(width(limits), finest.get(name, 0.0)) for name, limits in ranges.items()}


@dataclass(frozen=True, slots=True)
class _Shared:
    limits: Range
    demand: float


class _Groups:
    """Disjoint groups of tensors, each with the range of them all and what its readers demand."""

    def __init__(self, ranges: Mapping[str, Range], demand: Mapping[str, float]) -> None:
        self.parent = {name: name for name in ranges}
        self.shared = {name: _Shared(ranges[name], demand[name]) for name in ranges}
        self.own: set[str] = set()

    def find(self, name: str) -> str:
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def is_own(self, name: str) -> bool:
        return self.find(name) in self.own

    def tie(self, one: str, other: str, worth: float | None = None) -> None:
        """Make one group of both, or leave them if a reader would get a map ``worth`` coarser."""
        first, second = self.find(one), self.find(other)
        if first == second:
            return
        both = union(self.shared[first].limits, self.shared[second].limits)
        demand = min(self.shared[first].demand, self.shared[second].demand)
        if worth is not None and width(both) > worth * demand:
            return
        self.parent[second] = first
        self.shared[first] = _Shared(both, demand)
        if second in self.own:
            self.own.add(first)

    def ranges(self) -> dict[str, Range]:
        return {name: self.shared[self.find(name)].limits for name in self.parent}
