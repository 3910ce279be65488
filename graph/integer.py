"""Integer graphs: their operators' rows, shapes, products and reads, and the rules they obey.

    >>> INTEGERS["q_add"].elements
    ('u8', 'u8')

The meaning of each operator stands in its file of ``graph/operators``. Every one gives u8.
"""

from __future__ import annotations

from .attributes import GraphError, Shape, integer, require
from .graph import Graph, Node, Requant
from .moves import Move
from .operators import INTEGERS
from .operators.group import nodes_of
from .requantize import MODES, WIDE
from .spec import Integer


def integer_of(node: Node) -> Integer:
    """What the node's operator is; GraphError where there is none."""
    if node.op not in INTEGERS:
        known = ", ".join(INTEGERS)
        raise GraphError(
            f"{node.op} {node.output}: an integer graph holds only {known}; "
            "quantize the float graph first"
        )
    return INTEGERS[node.op]


def move_of(graph: Graph, node: Node) -> Move | None:
    """The map of a node that takes each byte from a place; None where it does more."""
    move = integer_of(node).move
    return move(node, graph.types[node.inputs[0]].shape) if move else None


def is_move(node: Node) -> bool:
    """Whether a node takes each byte from a place."""
    return integer_of(node).move is not None


def shapes_of(graph: Graph, node: Node) -> tuple[Shape, ...]:
    return tuple(graph.types[name].shape for name in node.inputs)


def infer_shape(graph: Graph, node: Node) -> Shape:
    """The output's shape by the operator's rule."""
    return integer_of(node).shape(node, shapes_of(graph, node))


def macs(graph: Graph, node: Node) -> int:
    """Products that touch data in one run of the node: a tap that falls into padding is none."""
    output = graph.types[node.output].shape
    return integer_of(node).products(node, shapes_of(graph, node), output)


def reads(graph: Graph, node: Node, position: int) -> int:
    """Elements of the input at ``position`` on which the node's output depends."""
    return integer_of(node).reads(node, shapes_of(graph, node), position)


def verify(graph: Graph) -> None:
    """Hold every node to its row; GraphError with one sentence at the first that breaks it."""
    known = set(graph.inputs) | set(graph.constants)
    for node in (part for whole in graph.nodes for part in nodes_of(whole)):
        row = integer_of(node)
        missing = [name for name in node.inputs if name not in known]
        require(not missing, node, "inputs must be defined before they are read", missing)
        _verify_elements(graph, node, row)
        shape, stated = infer_shape(graph, node), graph.types[node.output].shape
        require(shape == stated, node, f"the output's shape is {shape}", stated)
        _verify_numbers(node)
        known.add(node.output)
    missing = [name for name in graph.outputs if name not in known]
    if missing:
        raise GraphError(f"{graph.name}: outputs must be defined, but got {missing}")


def _verify_elements(graph: Graph, node: Node, row: Integer) -> None:
    elements = row.elements
    if elements[-1] == "*":
        elements = elements[:1] * len(node.inputs)
    came = tuple(graph.types[name].element for name in node.inputs)
    require(came == elements, node, f"the inputs' elements are {elements}", came)
    requant = node.attrs.get("requant")
    made = "i32" if isinstance(requant, Requant) and requant.mode == WIDE else "u8"
    output = graph.types[node.output].element
    require(output == made, node, f"the output's element is {made}", output)


def _verify_numbers(node: Node) -> None:
    requant = node.attrs.get("requant")
    if isinstance(requant, Requant):
        _verify_requant(node, requant)
    for name in (name for name in node.attrs if name.endswith("_zero")):
        zero = integer(node, name)
        require(0 <= zero <= 255, node, f"{name} is in 0..255", zero)


def _verify_requant(node: Node, requant: Requant) -> None:
    if requant.mode == WIDE:
        return
    require(requant.mode in MODES, node, f"the mode is one of {tuple(MODES)}", requant.mode)
    limits = 0 <= requant.low <= requant.high <= 255
    require(limits, node, "0 <= low <= high <= 255", (requant.low, requant.high))
    in_range = all(0 <= m < 1 << 31 for m in requant.multiplier)
    require(in_range, node, "multipliers are in [0, 2**31)", requant.multiplier)
    if shifts := MODES[requant.mode].shifts:
        within = f"shift is in {shifts[0]}..{shifts[-1]}"
        require(requant.shift in shifts, node, within, requant.shift)
