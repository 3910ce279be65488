"""Changes of an integer graph that leave its values as they are, made where they save moves.

Operators are turned into another rank, and tables are looked up before moves that stand between
them and another move. Each change is tried on the operators and moves around it: it is made where
these cost less then, with their moves composed, and in the bytes that the operators work on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

from .compose import compose, move_cost
from .graph import Graph, Node
from .integer import integer_of, is_move
from .physical import physical
from .ranks import groups, turned
from .tables import between_moves, sunk

Change = Callable[[Graph], Graph]


def arrange(graph: Graph) -> Graph:
    """The graph with all changes that save something."""
    changed = True
    while changed:
        changed = False
        for members, change in _changes(graph):
            near = surroundings(graph, members)
            if cost(change(near)) < cost(near):
                graph, changed = change(graph), True
    return graph


def _changes(graph: Graph) -> list[tuple[set[str], Change]]:
    """What may be changed, each with the results of the nodes that it is about."""
    turns = [(members, partial(turned, members=members)) for members in groups(graph)]
    sinks = [({name}, partial(sunk, table=name)) for name in between_moves(graph)]
    return [*turns, *sinks]


def surroundings(graph: Graph, members: set[str]) -> Graph:
    """The part of a graph whose cost depends on a change of ``members``: their nodes, and the moves
    that are connected to them by moves alone; with all that reads what they or the model give."""
    beside: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in (node.output, *node.inputs) if is_move(node) else ():
            beside.setdefault(name, []).append(node)
    inside = {node.output for node in graph.nodes if node.output in members}
    left = {name for n in graph.nodes if n.output in inside for name in (n.output, *n.inputs)}
    seen: set[str] = set()
    while left:
        name = left.pop()
        seen.add(name)
        for node in beside.get(name, ()):
            inside.add(node.output)
            left |= {node.output, *node.inputs} - seen
    part = graph.without_nodes()
    read = {name for n in graph.nodes if n.output in inside for name in n.inputs}
    near = inside | (read & {*graph.inputs})
    part.nodes = [n for n in graph.nodes if n.output in inside or near & set(n.inputs)]
    part.outputs = [name for name in graph.outputs if name in inside]
    return part


def cost(graph: Graph) -> int:
    """Of what a change may change: the composed moves, and operators that work in any rank."""
    made = compose(graph)
    return sum(_node_cost(made, node) for node in made.nodes)


def _node_cost(graph: Graph, node: Node) -> int:
    if (moved := move_cost(graph, node)) is not None:
        return moved
    shape = graph.types[node.output].shape
    turning = integer_of(node).turning
    return prod(physical(shape)) * turning.cost(node, shape) if turning else 0
