"""A group: an operator, and others that work element by element on its results, as one kernel.

fused(inputs of its nodes that none of them makes) nodes
    the nodes' meanings, one after another: bytes are those of the nodes by themselves

``graph/fuse.py`` says which nodes are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from ..attributes import Shape
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_site import Behind, Site
from ..spec import Integer, Spec

NAME = "fused"


def nodes_of(node: Node) -> tuple[Node, ...]:
    """The nodes that a node stands for, in their order: those of a group, or the node itself."""
    return cast(tuple[Node, ...], node.attrs["nodes"]) if node.op == NAME else (node,)


def grouped(nodes: Sequence[Node]) -> Node:
    """Nodes of which each but the first works on the result of the one before it, as one."""
    made = {node.output for node in nodes}
    inputs = dict.fromkeys(name for node in nodes for name in node.inputs if name not in made)
    return replace(nodes[-1], op=NAME, inputs=tuple(inputs), attrs={"nodes": tuple(nodes)})


def _rows(node: Node) -> Iterator[tuple[Node, Integer]]:
    from . import INTEGERS

    return ((part, INTEGERS[part.op]) for part in nodes_of(node))


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    values = dict(zip(node.inputs, inputs, strict=True))
    for part, row in _rows(node):
        values[part.output] = row.evaluate(part, [values[name] for name in part.inputs])
    return values[node.output]


def _shapes(node: Node, shapes: Sequence[Shape]) -> dict[str, Shape]:
    """Of all tensors of a group."""
    known = dict(zip(node.inputs, shapes, strict=True))
    for part, row in _rows(node):
        known[part.output] = row.shape(part, [known[name] for name in part.inputs])
    return known


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    return _shapes(node, shapes)[node.output]


def products(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    known = _shapes(node, shapes)
    return sum(
        row.products(part, [known[name] for name in part.inputs], known[part.output])
        for part, row in _rows(node)
    )


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """What that of its nodes reads which reads most of an input."""
    known, name = _shapes(node, shapes), node.inputs[position]
    return max(
        row.reads(part, [known[n] for n in part.inputs], at)
        for part, row in _rows(node)
        for at, n in enumerate(part.inputs)
        if n == name
    )


def lower(site: Site) -> Kernel:
    """The kernel of the first node, which stores what the others make of its results."""
    (first, row), *others = _rows(site.node)
    made = [first.output, *(part.output for part, _ in others)]
    site.behind = tuple(
        Behind(part, spec, name) for (part, spec), name in zip(others, made, strict=False)
    )
    output, origin = site.node.output, site.node.origin
    site.node, site.spec = replace(first, output=output, origin=first.origin or origin), row
    return row.lower(site)


GROUP = Integer(NAME, ("u8", "*"), evaluate, shape_of, lower, products, reads)
SPECS = (Spec(NAME, integer=GROUP),)
