"""Rank is free: operators run in the rank in which their data lies best for those beside them.

A tensor of rank 4 has its channels innermost in memory, any other its last axis. What works the
same in both ranks follows its neighbours: between convolutions of a sequence, images of height 1;
in attention, whose products sum over the last axis, matrices of rank 3.

    (2, 64, 117)     as an image          (2, 64, 1, 117)
    (1, 4, 64, 32)   as matrices          (4, 64, 32)

Operators that read each other's results are turned together. The model's inputs and outputs are
stored in the rank in which they are used (``graph/borders.py``), so that no move need be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .attributes import Shape, integers
from .graph import Graph, Node
from .integer import integer_of, is_move
from .spec import Turning


def groups(graph: Graph) -> list[set[str]]:
    """Results that are turned together: those that read each other, with a move beside them, or at
    a border, which lies as they do, where what they take depends on the rank."""
    made = {node.output: node for node in graph.nodes}
    free = [node for node in graph.nodes if turn(graph, node) is not None]
    group = {node.output: {node.output} for node in free}
    for node in free:
        for name in _activations(node):
            if name in group and _rank(graph, made[name]) == _rank(graph, node):
                both = group[node.output] | group[name]
                group.update(dict.fromkeys(both, both))
    near = set()
    for node in graph.nodes:
        if is_move(node):
            near |= {node.output, *node.inputs}
    distinct = {id(members): members for members in group.values()}.values()
    border = {*graph.inputs, *graph.outputs}
    return [
        members
        for members in distinct
        if _meets(made, members, near)
        or (_meets(made, members, border) and any(_turning(made[name]).ranked for name in members))
    ]


def _meets(made: Mapping[str, Node], members: set[str], names: set[str]) -> bool:
    """Whether nodes read or make one of ``names``."""
    return any({name, *made[name].inputs} & names for name in members)


def _rank(graph: Graph, node: Node) -> int:
    """The rank in which a node works."""
    return len(graph.types[node.inputs[0] if _turning(node).reduces else node.output].shape)


def _activations(node: Node) -> tuple[str, ...]:
    return node.inputs[: _turning(node).activations]


def _turning(node: Node) -> Turning:
    found = integer_of(node).turning
    assert found is not None
    return found


# One operator in the other rank -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TurnedOperator:
    """An operator in the other rank: its attributes, and the shapes of its activations."""

    attrs: Mapping[str, object]
    inputs: tuple[Shape, ...]
    output: Shape


def turn(graph: Graph, node: Node) -> TurnedOperator | None:
    """``node`` in the other rank; None where it has no such form."""
    turning = integer_of(node).turning
    if turning is None:
        return None
    rank = _rank(graph, node)
    shapes = [graph.types[name].shape for name in _activations(node)]
    output = graph.types[node.output].shape
    if rank not in (3, 4):
        return None
    whole = shapes[0] if turning.reduces else output
    heads = {_aligned(shape, rank)[:2] for shape in shapes}
    alike = turning.activations is None or not heads - {(1, 1)} - {whole[:2]}
    if rank == 4 and whole[0] != 1 and not alike:
        return None
    attrs = turning.attrs(node, rank, _places(rank, whole))
    if attrs is None:
        return None
    if turning.reduces:
        axes = integers(node, "axes")
        output = tuple(1 if axis in axes else n for axis, n in enumerate(whole))
    return TurnedOperator(attrs, tuple(other(_aligned(s, rank)) for s in shapes), other(output))


def _aligned(shape: Shape, rank: int) -> Shape:
    return (*(1,) * (rank - len(shape)), *shape)


def other(shape: Shape) -> Shape:
    """The shape in the other rank; elements keep their row-major order."""
    if len(shape) == 4:
        return (shape[0] * shape[1], *shape[2:])
    return (*shape[:2], 1, shape[2])


def _places(rank: int, shape: Shape) -> Mapping[int, int]:
    """The axes that are an axis of the other rank, too, and where they are."""
    places = {0: 0, 1: 1, 2: 3} if rank == 3 else {1: 0, 2: 1, 3: 2}
    if rank == 4 and shape[0] != 1:
        del places[1]  # batch and channels are one axis, along which nothing may be done
    return places


# A graph with some operators turned ---------------------------------------------------------------


def turned(graph: Graph, members: set[str]) -> Graph:
    """The graph with the nodes that make ``members`` in the other rank, reshapes around them."""
    made = _Turning(graph, graph.without_nodes())
    for node in graph.nodes:
        found = turn(graph, node) if node.output in members else None
        if found is None:
            inputs = tuple(made.back.get(name, name) for name in node.inputs)
            made.target.nodes.append(replace(node, inputs=inputs))
        else:
            made.add(node, found)
    return made.target


@dataclass(slots=True)
class _Turning:
    """``there`` is each tensor in the other rank, ``back`` its old form where that has a new name:
    the operator's result keeps the name, unless the model gives it."""

    source: Graph
    target: Graph
    there: dict[tuple[str, Shape], str] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)

    def add(self, node: Node, found: TurnedOperator) -> None:
        wanted = zip(_activations(node), found.inputs, strict=True)
        inputs = [self._input(name, shape, node.origin) for name, shape in wanted]
        kind = self.source.types[node.output]
        given = node.output in self.source.outputs
        name = self.target.fresh(node.output) if given else node.output
        old = node.output if given else self.target.fresh(node.output)
        self.target.types[name] = replace(kind, shape=found.output)
        self.target.types[old] = kind
        rest = node.inputs[len(inputs) :]
        self.target.nodes += [
            Node(node.op, (*inputs, *rest), name, found.attrs, node.origin),
            Node("reshape", (name,), old, {"shape": kind.shape}, node.origin),
        ]
        self.there[node.output, found.output] = name
        if not given:
            self.back[node.output] = old

    def _input(self, name: str, shape: Shape, origin: str) -> str:
        """``name`` under ``shape``."""
        if self.source.types[name].shape == shape and name not in self.back:
            return name
        if (name, shape) not in self.there:
            made = self.there[name, shape] = self.target.fresh(name)
            self.target.types[made] = replace(self.source.types[name], shape=shape)
            if name in self.source.constants:
                self.target.constants[made] = self.source.constants[name].reshape(shape)
            else:
                old = self.back.get(name, name)
                self.target.nodes.append(Node("reshape", (old,), made, {"shape": shape}, origin))
        return self.there[name, shape]
