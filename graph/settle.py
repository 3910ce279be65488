"""What an integer graph becomes before it is lowered: data movement that need not exist is gone.

kernels = lower_graph(settle(quantize(graph, batches)))
"""

from __future__ import annotations

from .compose import compose
from .graph import Graph
from .integer import verify


def settle(graph: Graph) -> Graph:
    """A graph of the same inputs and outputs, and of the same bytes in all of them."""
    made = compose(graph)
    verify(made)
    return made
