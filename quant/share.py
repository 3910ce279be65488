"""Which tensors share one affine map: operators that only move values tie input and output.

cat(a, b) -> c, reshape(c) -> d:  a, b, c and d are one group
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.graph import Graph
from .plan import Step, activations

MOVES = frozenset({"cat", "pad", "slice", "reshape", "permute", "expand", "max_pool2d"})


def share(graph: Graph, steps: Sequence[Step]) -> dict[str, str]:
    """Each u8 tensor to be -> the name that stands for its group."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for name in (*graph.inputs, *graph.outputs):
        find(name)
    for step in steps:
        for name in (*activations(graph, step), step.output):
            find(name)
        if step.op in MOVES:
            for name in step.inputs:
                parent[find(name)] = find(step.output)
    return {name: find(name) for name in parent}
