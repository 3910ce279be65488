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
from .integer_row import Shape, integer
from .moves import MOVES
from .physical import VECTOR, physical
from .ranks import groups, turned
from .tables import between_moves, sunk

Change = Callable[[Graph], Graph]
BYTEWISE = {"lookup": 1, "q_add": 2, "q_mul": 2, "cat": 2, "pad": 2, "q_mean": 2}


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
        for name in (node.output, *node.inputs) if node.op in MOVES else ():
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
    stored = prod(physical(shape))
    match node.op:
        case "q_softmax":
            return stored * _softmax_cost(shape, integer(node, "axis"))
        case "q_matmul":  # sums over an axis that lies apart, or beside the innermost one
            return stored * (9 if len(shape) == 4 else 4)
    return stored * BYTEWISE.get(node.op, 0)


def _softmax_cost(shape: Shape, axis: int) -> int:
    """Of a byte: along lanes, whole vectors of them or fewer; or along another axis, where each
    lane has a row of its own, whose division counts more if it is short, and threads need vectors
    of rows."""
    stored, length = physical(shape), shape[axis]
    deep = stored[3]
    if axis != (1 if len(shape) == 4 else len(shape) - 1):
        alone = max(2 * VECTOR * length // prod(stored), 1)
        return (13 + 120 // length + (5 if deep == 4 else 0)) * alone
    if length < deep or deep <= VECTOR // 4:
        return 18 if deep >= VECTOR else 24
    return 10 if deep >= VECTOR else 12
