"""What will be one integer operator: clamps folded into producers, functions of one tensor joined.

A float graph becomes a list of steps. A ``relu`` or ``clamp`` behind an operator that requantizes
is that step's bounds. Functions of single values whose values all come from one tensor (a chain,
or ``x * sigmoid(x)``) are one ``table`` step on that tensor, composed in the reals.

    conv2d, relu, sigmoid      ->  conv2d [0, inf], table (sigmoid)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..graph.emitting import FloatStep
from ..graph.graph import Graph, Node
from ..graph.operators import BY_NAME, FLOATS
from ..graph.operators.table import TABLE


def plan(graph: Graph) -> list[FloatStep]:
    """The live steps of ``graph`` in topological order."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    steps: dict[str, FloatStep] = {}
    for node in graph.nodes:
        step = _folded(node, steps, uses) or _table(graph, node, steps)
        if step is None:
            step = FloatStep(node.op, node.inputs, node.output, node.attrs, origin=node.origin)
        steps[step.output] = step
    return _live(graph, list(steps.values()))


def activations(graph: Graph, step: FloatStep) -> tuple[str, ...]:
    """The inputs that become u8 tensors: all but weights, biases and a table's scalars."""
    weighted = BY_NAME[step.op].weighted
    return step.inputs[:1] if weighted and weighted(graph, step.inputs) else step.inputs


def _folded(node: Node, steps: dict[str, FloatStep], uses: Counter[str]) -> FloatStep | None:
    """The producing step with this clamp as its bounds, where nobody else reads its output."""
    limits, before = FLOATS[node.op].limits, steps.get(node.inputs[0])
    if limits is None or before is None:
        return None
    if not BY_NAME[before.op].clamped or uses[before.output] != 1:
        return None
    low, high = limits(node.attrs)
    del steps[before.output]
    return replace(
        before,
        output=node.output,
        low=min(max(before.low, low), high),
        high=min(max(before.high, low), high),
    )


def _table(graph: Graph, node: Node, steps: dict[str, FloatStep]) -> FloatStep | None:
    """The node as a function of one tensor's single values, or None."""
    if not (FLOATS[node.op].pointwise or FLOATS[node.op].arithmetic):
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
    return FloatStep(
        TABLE.name, (root,), node.output, body=tuple(unique.values()), origin=node.origin
    )


def _root(name: str, steps: dict[str, FloatStep]) -> str:
    step = steps.get(name)
    return step.inputs[0] if step and step.body else name


def _body(name: str, steps: dict[str, FloatStep]) -> tuple[Node, ...]:
    return steps[name].body if name in steps else ()


def _live(graph: Graph, steps: list[FloatStep]) -> list[FloatStep]:
    needed = set(graph.outputs)
    kept: list[FloatStep] = []
    for step in reversed(steps):
        if step.output in needed:
            needed.update(step.inputs)
            kept.append(step)
    return kept[::-1]
