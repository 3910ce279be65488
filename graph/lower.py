"""Integer graphs as kernels: each node becomes one loop nest of the tensor IR.

    kernels = lower_graph(graph)
    kernels[0].kind, kernels[0].func            # "conv2d", a PrimFunc over stored images

Each operator's lowering is one function, in the table ``LOWER``; the files ``lower_*`` hold them by
kind. Activations are stored as ``graph/physical.py`` says.
"""

from __future__ import annotations

from collections.abc import Callable

from . import lower_dot, lower_move, lower_point, lower_pool
from .graph import Graph, Node
from .integer import row_of
from .kernels import Kernel
from .lower_site import Site, require_single
from .moves import MOVES

LOWER: dict[str, Callable[[Site], Kernel]] = {
    "q_conv2d": lower_dot.conv2d,
    "q_linear": lower_dot.linear,
    "q_matmul": lower_dot.matmul,
    "q_avg_pool2d": lower_pool.avg_pool2d,
    "q_mean": lower_pool.mean,
    "max_pool2d": lower_pool.max_pool2d,
    "q_add": lower_point.add,
    "q_mul": lower_point.mul,
    "lookup": lower_point.lookup,
    "q_softmax": lower_point.softmax,
    "cat": lower_move.cat,
    "pad": lower_move.pad,
    **dict.fromkeys(MOVES, lower_move.move),
}


def lower(graph: Graph, node: Node) -> Kernel:
    """The kernel of one node."""
    require_single(node)
    return LOWER[row_of(node).name](Site(graph, node))


def lower_graph(graph: Graph) -> list[Kernel]:
    """The kernels of all nodes, in the graph's order."""
    return [lower(graph, node) for node in graph.nodes]
