"""Notes on loops and blocks: plain data that later passes read."""

from __future__ import annotations

from dataclasses import replace

from ..tir.stmt import Block, For
from .errors import refusal
from .state import BlockName, Loop, State


def annotate(state: State, place: Loop | BlockName, key: str, value: object) -> None:
    """Sets note ``key`` of a loop or block; None takes it away."""
    if not isinstance(value, int | str | float | tuple | None):
        raise refusal("annotate", "a note must be a number, a string, a tuple of them or None",
                      repr(value))  # fmt: skip
    name = str(place)
    path = state.places.block(name) or state.loop("annotate", name)
    node = path[-1]
    assert isinstance(node, For | Block)
    notes = [(k, v) for k, v in node.annotations if k != key]
    if value is not None:
        notes.append((key, value))
    state.swap(path, replace(node, annotations=tuple(notes)))
