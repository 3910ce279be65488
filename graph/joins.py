"""Moves that only a ``cat`` reads are done while it copies: its attribute ``moves`` has them.

cat(upsample(x), y)    ->    cat(x, y) moves=(the upsample, ())

Where channels are joined, moves that take them apart stay: a cat takes whole pixels.
"""

from __future__ import annotations

from dataclasses import replace

from .compose import move_cost
from .copying import copied
from .graph import Graph, Node
from .integer import integer_of, move_of
from .physical import as_image


def join_moves(graph: Graph) -> None:
    """All such moves, in place; what nobody reads then stays."""
    reads = graph.read_counts()
    made = {node.output: node for node in graph.nodes}
    for place, node in enumerate(graph.nodes):
        if not integer_of(node).joins or not _has_own_axis(graph, node):
            continue
        before = [made.get(name) if reads[name] == 1 else None for name in node.inputs]
        moves = [_joined(graph, move, _is_deep(graph, node)) if move else () for move in before]
        if any(moves):
            pairs = zip(before, moves, node.inputs, strict=True)
            inputs = tuple(move.inputs[0] if move and own else name for move, own, name in pairs)
            attrs = {**node.attrs, "moves": tuple(moves)}
            origins = [n.origin for n, own in zip(before, moves, strict=True) if n and own]
            origin = ", ".join(dict.fromkeys(filter(None, [*origins, node.origin])))
            graph.nodes[place] = replace(node, inputs=inputs, attrs=attrs, origin=origin)


def _has_own_axis(graph: Graph, node: Node) -> bool:
    """Whether the joined axis is an axis of the stored image by itself."""
    rank, axis = len(graph.types[node.output].shape), node.attrs["axis"]
    return rank <= 4 or axis in (rank - 2, rank - 1)


def _is_deep(graph: Graph, node: Node) -> bool:
    """Whether the joined axis is that of the channels."""
    rank = len(graph.types[node.output].shape)
    return node.attrs["axis"] == (1 if rank == 4 else rank - 1)


def _joined(graph: Graph, node: Node, deep: bool) -> tuple[object, ...]:
    """The move of a node that copies by one nest, as an attribute; () for any other node, and for
    one that takes channels apart where these are joined."""
    shape, out_shape = (graph.types[name].shape for name in (node.inputs[0], node.output))
    move = move_of(graph, node)
    found = copied(move, shape, out_shape) if move else None
    if move is None or found is None or not move_cost(graph, node):
        return ()
    if deep and found.run < as_image(out_shape)[1]:
        return ()
    return (out_shape, move.extents, move.strides, move.offset)
