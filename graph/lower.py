"""Integer graphs as kernels: each node becomes one loop nest of the tensor IR.

    kernels = lower_graph(graph)
    kernels[0].kind, kernels[0].func            # "conv2d", a PrimFunc over stored images

Each operator's lowering stands in its file of ``graph/operators``; the files ``lower_*`` have what
several of them share. Activations are stored as ``graph/physical.py`` says.
"""

from __future__ import annotations

from .borders import stored_shape
from .graph import Graph, Node
from .integer import integer_of
from .kernels import Kernel
from .lower_site import Site, require_single


def lower(graph: Graph, node: Node) -> Kernel:
    """The kernel of one node."""
    require_single(node)
    spec = integer_of(node)
    stored = {name: stored_shape(graph, name) for name in (*node.inputs, node.output)}
    return spec.lower(Site(graph, node, spec, stored))


def lower_graph(graph: Graph) -> list[Kernel]:
    """The kernels of all nodes, in the graph's order."""
    return [lower(graph, node) for node in graph.nodes]
