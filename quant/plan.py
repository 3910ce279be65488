"""What will be one integer operator: clamps folded into producers, functions of one tensor joined.

A float graph becomes a list of steps. A ``relu`` or ``clamp`` behind an operator that requantizes
is that step's bounds. Functions of single values whose values all come from one tensor (a chain,
or ``x * sigmoid(x)``) are one ``table`` step on that tensor, composed in the reals.

    conv2d, relu, sigmoid      ->  conv2d [0, inf], table (sigmoid)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..graph.graph import Graph, Node
from ..graph.operators import OPERATORS

REQUANTIZES = frozenset({"conv2d", "linear", "matmul", "add", "sub", "mul", "avg_pool2d", "mean"})
ARITHMETIC = frozenset({"add", "sub", "mul"})


@dataclass(frozen=True, slots=True)
class Step:
    """A float operator (or a ``table`` of ``body``'s operators) with the clamp behind it."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, object] = field(default_factory=dict)
    low: float = -math.inf
    high: float = math.inf
    body: tuple[Node, ...] = ()
    origin: str = ""


def plan(graph: Graph) -> list[Step]:
    """The live steps of ``graph`` in topological order."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    steps: dict[str, Step] = {}
    for node in graph.nodes:
        step = _folded(node, steps, uses) or _table(graph, node, steps)
        if step is None:
            step = Step(node.op, node.inputs, node.output, node.attrs, origin=node.origin)
        steps[step.output] = step
    return _live(graph, list(steps.values()))


def activations(graph: Graph, step: Step) -> tuple[str, ...]:
    """The inputs that become u8 tensors: all but weights, biases and a table's scalars."""
    if step.op in ("conv2d", "linear") or has_weight(graph, step):
        return step.inputs[:1]
    return step.inputs


def has_weight(graph: Graph, step: Step) -> bool:
    """A matrix product by a constant matrix, which takes i8 weights as a linear layer does."""
    right = step.inputs[-1]
    matrix = right in graph.constants and len(graph.types[right].shape) == 2
    return step.op == "matmul" and matrix and step.inputs[0] not in graph.constants


def _folded(node: Node, steps: dict[str, Step], uses: Counter[str]) -> Step | None:
    """The producing step with this clamp as its bounds, where nobody else reads its output."""
    if node.op not in ("relu", "clamp"):
        return None
    before = steps.get(node.inputs[0])
    if before is None or before.op not in REQUANTIZES or uses[before.output] != 1:
        return None
    low, high = limits(node)
    del steps[before.output]
    return replace(
        before,
        output=node.output,
        low=min(max(before.low, low), high),
        high=min(max(before.high, low), high),
    )


def limits(node: Node) -> tuple[float, float]:
    """The ends of a relu or clamp."""
    if node.op == "relu":
        return 0.0, math.inf
    low, high = node.attrs["low"], node.attrs["high"]
    assert isinstance(low, (int, float)) and isinstance(high, (int, float))
    return float(low), float(high)


def _table(graph: Graph, node: Node, steps: dict[str, Step]) -> Step | None:
    """The node as a function of one tensor's single values, or None."""
    if not (OPERATORS[node.op].pointwise or node.op in ARITHMETIC):
        return None
    values = [name for name in node.inputs if name not in graph.constants]
    scalars = [graph.types[name] for name in node.inputs if name in graph.constants]
    roots = {_root(name, steps) for name in values}
    if len(roots) != 1 or any(kind.size != 1 for kind in scalars):
        return None
    (root,) = roots
    if graph.types[root].shape != graph.types[node.output].shape:
        return None
    body = [inner for name in values for inner in _body(name, steps)]
    unique = {inner.output: inner for inner in [*body, node]}
    return Step("table", (root,), node.output, body=tuple(unique.values()), origin=node.origin)


def _root(name: str, steps: dict[str, Step]) -> str:
    step = steps.get(name)
    return step.inputs[0] if step and step.op == "table" else name


def _body(name: str, steps: dict[str, Step]) -> tuple[Node, ...]:
    return steps[name].body if name in steps else ()


def _live(graph: Graph, steps: list[Step]) -> list[Step]:
    needed = set(graph.outputs)
    kept: list[Step] = []
    for step in reversed(steps):
        if step.output in needed:
            needed.update(step.inputs)
            kept.append(step)
    return kept[::-1]
