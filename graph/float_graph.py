"""Float graphs: the values and shapes of their operators, and the rules that they obey.

infer("conv2d", [(1, 3, 8, 8), (4, 3, 3, 3)], conv_attrs)    # -> (1, 4, 6, 6)

Shapes are inferred by running an operator's meaning on meta tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from .errors import UnsupportedModel
from .graph import Graph, Node
from .operators import FLOATS

if TYPE_CHECKING:
    from torch import Tensor


def evaluate(op: str, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> Tensor:
    """The value of ``op`` on torch tensors."""
    import torch

    meaning = FLOATS[op].meaning
    assert meaning is not None
    result: Tensor = meaning(torch, *inputs, **attrs)
    return result


def infer(
    op: str, shapes: Sequence[tuple[int, ...]], attrs: Mapping[str, object]
) -> tuple[int, ...]:
    """The shape of ``op``'s result."""
    import torch

    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    return tuple(evaluate(op, inputs, attrs).shape)


@cache
def attributes(op: str) -> frozenset[str]:
    """The attributes that ``op`` takes: the keyword-only parameters of its meaning."""
    meaning = FLOATS[op].meaning
    assert meaning is not None
    kinds = inspect.signature(meaning).parameters.values()
    return frozenset(p.name for p in kinds if p.kind is p.KEYWORD_ONLY)


def verify(graph: Graph) -> None:
    """Check a float graph: known operators, their attributes, defined inputs, inferred shapes."""
    known = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        _verify_node(graph, node, known)
        known.add(node.output)
    for name in graph.outputs:
        if name not in known:
            raise UnsupportedModel(f"verify: an output must be defined, but {name} is not")


def _verify_node(graph: Graph, node: Node, known: set[str]) -> None:
    if node.op not in FLOATS:
        raise UnsupportedModel(f"verify: {node.output} has the unknown operator {node.op}")
    if frozenset(node.attrs) != attributes(node.op):
        raise UnsupportedModel(
            f"verify: {node.op} takes the attributes {sorted(attributes(node.op))}, "
            f"but {node.output} has {sorted(node.attrs)}"
        )
    if missing := [name for name in node.inputs if name not in known]:
        raise UnsupportedModel(f"verify: {node.output} reads {missing[0]} before it is defined")
    shape = infer(node.op, [graph.types[name].shape for name in node.inputs], node.attrs)
    if shape != graph.types[node.output].shape:
        raise UnsupportedModel(
            f"verify: {node.output} has the shape {graph.types[node.output].shape}, "
            f"but {node.op} makes {shape}"
        )
