"""Moves compose before anything is lowered: of a chain only what others read is made, in one copy.

    reshape, permute, reshape  ->  move          flatten, transpose  ->  move, of NHWC the identity

A tensor that a move makes may come from any tensor up its chain that is kept: from the one that
costs least. Kept are all that another operator reads or that the model gives, and one that several
moves read where each of them is cheaper so in sum; what is the same is made once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from .attributes import Shape
from .borders import stored_shape
from .copying import copied
from .graph import Graph, Node
from .integer import move_of
from .moves import Move

# Costs are in bytes that are copied by vectors.
KERNEL = 4096  # what a kernel costs beside its bytes
SCRATCH = 3  # a copy through a buffer, for one that needs none
SINGLE = 12  # a copy byte by byte, for one of vectors
VECTOR = 32  # bytes that lie together in what counts as a copy of vectors


def compose(graph: Graph) -> Graph:
    """The integer graph with composed moves; the values of what is left are the same."""
    made = graph.without_nodes()
    forest = _Forest.of(graph)
    forest.keep_shared()
    made.nodes = list(forest.nodes())
    made.outputs = [forest.names.get(name, name) for name in graph.outputs]
    live = {*made.inputs, *made.outputs}
    live.update(name for node in made.nodes for name in (node.output, *node.inputs))
    made.types = {name: kind for name, kind in made.types.items() if name in live}
    return made


def move_cost(graph: Graph, node: Node) -> int | None:
    """What a node costs that only moves; None for another."""
    move = move_of(graph, node)
    shape, out_shape = (stored_shape(graph, name) for name in (node.inputs[0], node.output))
    return None if move is None else cost(move, shape, out_shape)


@cache
def cost(move: Move, shape: Shape, out_shape: Shape) -> int:
    """What a move costs; 0 where nothing moves."""
    copying = copied(move, shape, out_shape)
    if copying is None:
        return KERNEL + SCRATCH * SINGLE * move.size
    if copying.view is not None:
        return 0
    return KERNEL + move.size * (1 if copying.run >= VECTOR else SINGLE)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a tensor can be made: from ``source``, by ``move``, which does what ``nodes`` do."""

    source: str
    move: Move
    nodes: tuple[Node, ...]
    cost: int


@dataclass(slots=True)
class _Forest:
    """The moves of a graph: the ways to make each result, and which of them are kept."""

    graph: Graph
    ways: dict[str, list[_Way]]
    kept: set[str]
    names: dict[str, str] = field(default_factory=dict)  # a tensor that is another -> that one
    made: dict[tuple[str, Move, Shape], str] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph) -> _Forest:
        ways: dict[str, list[_Way]] = {}
        needed = set(graph.outputs)
        for node in graph.nodes:
            if (move := move_of(graph, node)) is None:
                needed.update(node.inputs)
            else:
                ways[node.output] = list(_ways(graph, node, move, ways))
        found = _Forest(graph, ways, set())
        found.kept = found.closed(needed)
        return found

    def closed(self, wanted: set[str]) -> set[str]:
        """The wanted tensors, and those from which these must be made."""
        kept = set(wanted)
        for name in reversed(self.ways):
            if name in kept and not any(self._is_there(way, kept) for way in self.ways[name]):
                kept.add(self.ways[name][0].source)
        return kept

    def keep_shared(self) -> None:
        """Keep what several moves read where that costs less."""
        readers = Counter(ways[0].source for ways in self.ways.values())
        least = self.total(self.kept)
        for name in self.ways:
            if name in self.kept or readers[name] < 2:
                continue
            more = self.closed({*self.kept, name})
            if (total := self.total(more)) < least:
                self.kept, least = more, total

    def total(self, kept: set[str]) -> int:
        return sum(self.way(name, kept).cost for name in self.ways if name in kept)

    def way(self, name: str, kept: set[str]) -> _Way:
        """The cheapest way from what is kept, of equal ones the longest."""
        found = [way for way in self.ways[name] if self._is_there(way, kept)]
        return min(reversed(found), key=lambda way: way.cost)

    def _is_there(self, way: _Way, kept: set[str]) -> bool:
        return way.source in kept or way.source not in self.ways

    def nodes(self) -> Iterator[Node]:
        """The nodes of the composed graph."""
        for node in self.graph.nodes:
            if node.output not in self.ways:
                yield replace(node, inputs=self._renamed(node))
            elif node.output in self.kept:
                made = self._made(node)
                if made is not None:
                    yield made

    def _renamed(self, node: Node) -> tuple[str, ...]:
        return tuple(self.names.get(name, name) for name in node.inputs)

    def _made(self, node: Node) -> Node | None:
        """The node that makes a kept tensor; None where it is another tensor."""
        way = self.way(node.output, self.kept)
        source = self.names.get(way.source, way.source)
        types, move = self.graph.types, way.move
        shape = types[node.output].shape
        as_reshape = move.is_reshape and types[source].size == move.size
        same = source if as_reshape and types[source].shape == shape else None
        same = self.made.setdefault((source, move, shape), same or node.output)
        if same != node.output and node.output not in self.graph.outputs:
            self.names[node.output] = same
            return None
        if as_reshape:
            return _node("reshape", source, way, shape, {})
        if len(way.nodes) == 1:
            return replace(node, inputs=(source,))
        digits = {"extents": move.extents, "strides": move.strides, "offset": move.offset}
        return _node("move", source, way, shape, digits)


def _node(op: str, source: str, way: _Way, shape: Shape, digits: Mapping[str, object]) -> Node:
    origin = ", ".join(dict.fromkeys(node.origin for node in way.nodes if node.origin))
    return Node(op, (source,), way.nodes[-1].output, {"shape": shape, **digits}, origin)


def _ways(graph: Graph, node: Node, move: Move, known: Mapping[str, list[_Way]]) -> Iterator[_Way]:
    """From the node's own input, then from those further up, where one copy can do it."""
    shape, (source,) = graph.types[node.output].shape, node.inputs
    own = graph.types[source].shape
    yield _Way(source, move, (node,), cost(move, own, shape))
    for way in known.get(source, ()):
        whole = move.after(way.move)
        if whole is None:
            continue
        before = graph.types[way.source].shape
        as_reshape = whole.is_reshape and graph.types[way.source].size == whole.size
        if as_reshape or copied(whole, before, shape) is not None:
            yield _Way(way.source, whole, (*way.nodes, node), cost(whole, before, shape))
