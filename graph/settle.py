"""What an integer graph becomes before it is lowered: data movement that need not exist is gone.

kernels = lower_graph(settle(quantize(graph, batches)))
"""

from __future__ import annotations

from .arrange import arrange
from .compose import compose
from .fold import remove_dead
from .fold_moves import fold_pads
from .graph import Graph
from .integer import verify
from .joins import join_moves
from .row_taps import row_taps
from .spread import spread
from .tables import without_identities


def settle(graph: Graph) -> Graph:
    """A graph of the same inputs and outputs, and of the same bytes in all of them."""
    made = compose(spread(arrange(row_taps(without_identities(graph)))))
    join_moves(made)
    fold_pads(made)
    remove_dead(made)
    verify(made)
    return made
