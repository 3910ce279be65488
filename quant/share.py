"""Which tensors share one affine map: operators that only move values tie input and output.

    cat(a, b) -> c, reshape(c) -> d:  a, b, c and d are one group

A softmax's map is fixed, for all that only moves its output. ``cat`` does not tie such an input
to others, whose range it would cut; that input goes through a table instead.
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
    fixed: set[str] = set()
    for step in steps:
        for name in (*activations(graph, step), step.output):
            find(name)
        if step.op == "softmax":
            fixed.add(step.output)
        elif step.op in MOVES:
            tied = [name for name in step.inputs if find(name) not in fixed] or step.inputs
            for name in tied:
                parent[find(step.output)] = find(name)
    return {name: find(name) for name in parent}
