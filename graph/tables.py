"""Tables that need not be looked up, and those that are looked up elsewhere.

lookup (0, 1, ..., 255)     ->    nothing: a factor is another scale
permute, lookup, permute    ->    lookup, permute, permute: the moves meet
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .graph import Graph, Node
from .integer import integer_of, is_move


def without_identities(graph: Graph) -> Graph:
    """The graph without tables that give each byte back; results of the model keep theirs."""
    changed, alias = graph.without_nodes(), dict[str, str]()
    for node in graph.nodes:
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        table = graph.constants.get(node.inputs[1]) if integer_of(node).looks_up else None
        plain = table is not None and np.array_equal(table, np.arange(256))
        if plain and node.output not in graph.outputs and inputs[0] not in graph.constants:
            alias[node.output] = inputs[0]
        else:
            changed.nodes.append(replace(node, inputs=inputs))
    return changed


def between_moves(graph: Graph) -> list[str]:
    """The results of tables that read a move, which nobody else reads, and that only moves read."""
    made = {node.output: node for node in graph.nodes}
    reads = graph.read_counts()
    return [
        n.output for n in graph.nodes if integer_of(n).looks_up and _before(graph, made, reads, n)
    ]


def sunk(graph: Graph, table: str) -> Graph:
    """The graph with ``table`` before the move that it reads; it has that move's name then."""
    made = {node.output: node for node in graph.nodes}
    changed = graph.without_nodes()
    changed.nodes = list(graph.nodes)
    before = _before(graph, made, graph.read_counts(), made[table]) if table in made else None
    if before is None:
        return changed
    kind, x = graph.types[table], before.inputs[0]
    changed.types[before.output] = replace(kind, shape=graph.types[x].shape)
    first = replace(made[table], inputs=(x, *made[table].inputs[1:]), output=before.output)
    changed.nodes[graph.nodes.index(before)] = first
    moved = replace(before, inputs=(before.output,), output=table)
    changed.nodes[graph.nodes.index(made[table])] = moved
    return changed


def _before(
    graph: Graph, made: dict[str, Node], reads: Mapping[str, int], node: Node
) -> Node | None:
    """The move that the table may be looked up before."""
    before = made.get(node.inputs[0])
    if not integer_of(node).looks_up or before is None or not is_move(before):
        return None
    readers = [is_move(other) for other in graph.users(node.output)]
    alone = reads[before.output] == 1 and node.output not in graph.outputs
    return before if alone and readers and all(readers) else None
