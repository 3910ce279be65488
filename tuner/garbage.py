"""How often Python looks for cyclic garbage while kernels are compiled.

    with seldom():
        ...             # many compilations

They make objects by the million, which later ones use again, and hardly a cycle. The collector
counts objects and looks at all of them again and again: a tenth of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MORE = 10_000_000  # objects more than at its last look, at which it looks at these


@contextmanager
def seldom() -> Iterator[None]:
    """The collector runs seldom within the block, and after it as before."""
    before = gc.get_threshold()
    try:
        gc.set_threshold(_MORE, *before[1:])
        yield
    finally:
        gc.set_threshold(*before)
