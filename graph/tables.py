"""Tables between moves: looked up before the first of them, so that the moves meet.

permute, lookup, permute    ->    lookup, permute, permute
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .graph import Graph, Node
from .moves import MOVES


def between_moves(graph: Graph) -> list[str]:
    """The results of tables that read a move, which nobody else reads, and that only moves read."""
    made = {node.output: node for node in graph.nodes}
    reads = graph.read_counts()
    return [n.output for n in graph.nodes if n.op == "lookup" and _before(graph, made, reads, n)]


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
    if node.op != "lookup" or before is None or before.op not in MOVES:
        return None
    readers = [other.op in MOVES for other in graph.users(node.output)]
    alone = reads[before.output] == 1 and node.output not in graph.outputs
    return before if alone and readers and all(readers) else None
