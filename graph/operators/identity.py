"""What changes no value: copies, casts to what a tensor is, dropout; no node is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value

NAMES = ("clone", "alias", "detach", "contiguous", "dropout", "lift_fresh_copy", "_to_copy", "to")


def aten_same(b: GraphBuilder, self: Value = None, **arguments: Any) -> Value:
    """The tensor itself: the importer checks types, and a graph has no memory formats."""
    return arguments.get("input") if self is None else self


SPECS = (Spec("identity", aten=(Aten(NAMES, aten_same),)),)
