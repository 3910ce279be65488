"""The function as a schedule hands it out: buffers at their places, copies started ahead."""

from __future__ import annotations

from dataclasses import replace

from ..tir.stmt import PrimFunc
from .buffering import start_copies
from .state import State
from .storage import compact


def finished(state: State) -> PrimFunc:
    """The function of ``state``, which stays as it is."""
    func = replace(state.func, body=compact(state))
    last = State(func, state.extents, set(state.names), state.gone)
    start_copies(last)
    return last.func
