"""Wide values as trees of registers, and lane order as their shape.

A value of many lanes is a tree of registers: ``Parts("concat", ...)`` holds consecutive lanes,
``Parts("interleave", ...)`` alternating ones, ``Splat`` the same few lanes everywhere. Leaves are
expressions of register size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tir.expr import Expr, const, make
from ..tir.types import Type, vector
from .errors import SelectError

VECTOR = 128  # bytes of a vector register


@dataclass(frozen=True, slots=True)
class Splat:
    """``value`` (at most 4 bytes) repeated over ``lanes`` lanes of ``type``."""

    value: Expr
    type: Type  # with all lanes

    def resized(self, lanes: int) -> Splat:
        return Splat(self.value, vector(self.type, lanes))


@dataclass(frozen=True, slots=True)
class Parts:
    """Two or more equal parts, ``concat`` or ``interleave``."""

    kind: str
    parts: tuple[Tree, ...]


Tree = Expr | Splat | Parts


def size_of(kind: Type) -> int:
    """Bytes of a value in registers."""
    return kind.bits * kind.lanes // 8 if kind.kind != "b" else kind.lanes


def has_interleaved(tree: Tree) -> bool:
    """Whether lanes alternate anywhere in the tree."""
    if not isinstance(tree, Parts):
        return False
    return tree.kind != "concat" or any(map(has_interleaved, tree.parts))


def repeated(tree: Tree, n: int) -> Tree:
    """Each lane ``n`` times: registers interleaved with themselves."""
    if isinstance(tree, Parts) and tree.kind == "concat":
        return Parts("concat", tuple(repeated(part, n) for part in tree.parts))
    return interleaved_parts([tree] * n)


def in_order(tree: Tree) -> list[Expr]:
    """The registers of consecutive lanes."""
    if isinstance(tree, Parts):
        if tree.kind != "concat":
            raise SelectError("lanes: a sum over lanes must be of lanes in memory order")
        return [leaf for part in tree.parts for leaf in in_order(part)]
    return [register(tree)]


def leaf_of(tree: Tree) -> Expr:
    """The one expression that a tree is; SelectError where it is more."""
    if isinstance(tree, Expr):
        return tree
    raise SelectError("lanes: a scalar was expected")


def halved(kind: str, parts: list[Tree]) -> Tree:
    """Equal parts as a binary tree where their number allows it."""
    if all(isinstance(part, Splat) for part in parts) and len({*parts}) == 1:
        first = parts[0]
        assert isinstance(first, Splat)
        return first.resized(first.type.lanes * len(parts))
    if len(parts) == 1:
        return parts[0]
    if len(parts) % 2 == 0 and len(parts) > 2:
        half = len(parts) // 2
        return Parts(kind, (halved(kind, parts[:half]), halved(kind, parts[half:])))
    return Parts(kind, tuple(parts))


def interleaved_parts(parts: list[Tree]) -> Tree:
    """n-way interleaving as two-way: evens and odds."""
    if len(parts) % 2 == 0 and len(parts) > 2:
        return Parts("interleave", (interleaved_parts(parts[::2]), interleaved_parts(parts[1::2])))
    return halved("interleave", parts)


def lanes_of(tree: Tree) -> int:
    """All lanes of a tree."""
    if isinstance(tree, Parts):
        return sum(map(lanes_of, tree.parts))
    return tree.type.lanes


def sliced_tree(tree: Tree, start: int, lanes: int) -> Tree:
    """So many consecutive lanes."""
    if isinstance(tree, Splat):
        return tree.resized(lanes)
    if isinstance(tree, Parts) and tree.kind == "concat":
        kept: list[Tree] = []
        for part in tree.parts:
            size = lanes_of(part)
            low, high = max(start, 0), min(start + lanes, size)
            if low < high:
                kept.append(
                    part if (low, high) == (0, size) else sliced_tree(part, low, high - low)
                )
            start -= size
        return halved("concat", kept)
    if lanes_of(tree) == lanes:
        return tree
    raise SelectError("lanes: a slice must take whole registers")


def alternate_lanes(tree: Tree, part: int, ways: int) -> Tree:
    """Every ``ways``-th lane, from lane ``part`` on."""
    if isinstance(tree, Splat):
        return tree.resized(tree.type.lanes // ways)
    if isinstance(tree, Parts) and tree.kind == "interleave":
        if len(tree.parts) == ways:
            return tree.parts[part]
        if ways % len(tree.parts) == 0:
            inner = len(tree.parts)
            return alternate_lanes(tree.parts[part % inner], part // inner, ways // inner)
    raise SelectError("lanes: deinterleave must undo an interleaving")


def map_trees(function: Callable[..., Tree], trees: list[Tree], kind: Type) -> Tree:
    """``function`` on corresponding leaves; splats take the shape of the others."""
    shapes = [tree for tree in trees if isinstance(tree, Parts)]
    if shapes:
        shape = next((s for s in shapes if s.kind == "interleave"), shapes[0])
        columns = [_like(tree, shape) for tree in trees]
        inner = vector(kind, kind.lanes // len(shape.parts))
        return Parts(
            shape.kind,
            tuple(
                map_trees(function, [c[i] for c in columns], inner) for i in range(len(shape.parts))
            ),
        )
    if all(isinstance(tree, Splat) for tree in trees):
        splats = [tree for tree in trees if isinstance(tree, Splat)]
        if all(splat.value.type.lanes == 1 for splat in splats):
            value = register(function(*(splat.value for splat in splats)))
            return Splat(value, vector(value.type, kind.lanes))
    bits = max(_element_bits(tree) for tree in trees if not _is_bool(tree))
    lanes = VECTOR * 8 // bits
    if kind.lanes > lanes:  # a splat alone decides nothing: consecutive registers
        count = kind.lanes // lanes
        columns = [[_resize(tree, lanes) for _ in range(count)] for tree in trees]
        return halved("concat", [map_trees(function, [c[i] for c in columns], vector(kind, lanes))
                                  for i in range(count)])  # fmt: skip
    return function(*(register(tree) for tree in trees))


def _is_bool(tree: Tree) -> bool:
    return not isinstance(tree, Parts) and tree.type.kind == "b"


def _element_bits(tree: Tree) -> int:
    assert not isinstance(tree, Parts)
    return tree.type.bits


def _resize(tree: Tree, lanes: int) -> Tree:
    if isinstance(tree, Splat):
        return tree.resized(lanes)
    raise SelectError("lanes: operands of different widths")


def register(tree: Tree) -> Expr:
    """A leaf as an expression of register size; a splat is a ``tile``."""
    if isinstance(tree, Splat):
        if tree.value.is_const:
            return const(tree.value.attr, tree.type)
        return make("tile", tree.value, attr=tree.type.lanes // tree.value.type.lanes)
    if isinstance(tree, Parts):
        raise SelectError("lanes: one register was expected, but the value takes several")
    return tree


def _like(tree: Tree, shape: Parts) -> list[Tree]:
    """``tree`` divided as ``shape`` is."""
    count = len(shape.parts)
    if isinstance(tree, Splat):
        return [tree.resized(tree.type.lanes // count)] * count
    if isinstance(tree, Parts) and tree.kind == shape.kind and len(tree.parts) == count:
        return list(tree.parts)
    if isinstance(tree, Parts) and all(_splits(part, shape.kind, count) for part in tree.parts):
        columns = [_like(part, shape) for part in tree.parts]
        return [halved(tree.kind, [column[i] for column in columns]) for i in range(count)]
    if isinstance(tree, Parts) and shape.kind == "interleave" and count == 2:
        return dealt_parts(tree)
    raise SelectError("lanes: the operands hold their lanes in different orders")


def _splits(tree: Tree, kind: str, count: int) -> bool:
    return isinstance(tree, Splat) or (
        isinstance(tree, Parts) and tree.kind == kind and len(tree.parts) == count
    )


def dealt_parts(tree: Parts) -> list[Tree]:
    """Consecutive registers as even and odd lanes: one permutation of a pair."""
    low, high = tree.parts
    if isinstance(low, Expr) and isinstance(high, Expr):
        whole = make("concat", low, high)
        lanes = low.type.lanes
        pair = make("concat", *(make("deinterleave", whole, attr=(i, 2)) for i in (0, 1)))
        return [make("slice", pair, attr=(i * lanes, lanes)) for i in (0, 1)]
    columns = [
        dealt_parts(part) if isinstance(part, Parts) else [part, part] for part in (low, high)
    ]
    return [Parts("concat", (columns[0][i], columns[1][i])) for i in (0, 1)]


def dealt_pair(wide: Expr) -> list[Expr]:
    """The even and the odd lanes of a value of two registers, as halves of one pair."""
    pair = make("concat", *(make("deinterleave", wide, attr=(i, 2)) for i in (0, 1)))
    lanes = wide.type.lanes // 2
    return [make("slice", pair, attr=(i * lanes, lanes)) for i in (0, 1)]
