"""Wide values as trees of registers, and lane order as their shape.

A value of many lanes is a tree of registers: ``Parts("concat", ...)`` holds consecutive lanes,
``Parts("interleave", ...)`` alternating ones, ``Splat`` the same few lanes everywhere. Leaves are
expressions of register size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tir.expr import Expr, const, make
from ..tir.types import Type, boolean, i32, vector
from .errors import SelectError

VECTOR = 128  # bytes of a vector register


@dataclass(frozen=True, slots=True)
class Splat:
    """``value`` (at most 4 bytes) repeated over ``lanes`` lanes of ``type``."""

    value: Expr
    type: Type  # with all lanes

    @property
    def period(self) -> int:
        return self.value.type.lanes

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


def registers_of(tree: Tree) -> list[Expr]:
    """The registers of consecutive lanes; lanes that alternate are brought into order by one
    permutation a pair."""
    if isinstance(tree, Parts):
        rows = [registers_of(part) for part in tree.parts]
        for leaf in (leaf for row in rows for leaf in row):
            if leaf.type.kind != "b" and size_of(leaf.type) != VECTOR:
                raise SelectError(f"lanes: parts must fill vector registers, but got {leaf.type}")
        if tree.kind == "concat":
            return [leaf for row in rows for leaf in row]
        return _interleaved(rows)
    if isinstance(tree, Splat):
        return [register(part) for part in _cut(tree, max(size_of(tree.type) // VECTOR, 1))]
    return [tree]


def _interleaved(rows: list[list[Expr]]) -> list[Expr]:
    """Registers whose lanes alternate, in order."""
    if len(rows) % 2:
        raise SelectError(f"lanes: registers alternate in pairs, but got {len(rows)} of them")
    if len(rows) > 2:
        rows = [_interleaved(rows[::2]), _interleaved(rows[1::2])]
    found: list[Expr] = []
    for low, high in zip(*rows, strict=True):
        whole, lanes = make("interleave", low, high), low.type.lanes
        found += [make("slice", whole, attr=(i * lanes, lanes)) for i in (0, 1)]
    return found


def halved(kind: str, parts: list[Tree]) -> Tree:
    """Equal parts as a binary tree where their number allows it."""
    if all(isinstance(part, Splat) for part in parts) and len({*parts}) == 1:
        first = parts[0]
        assert isinstance(first, Splat)
        return first.resized(first.type.lanes * len(parts))
    if len(parts) == 1:
        return parts[0]
    if kind == "concat" and sum(_splat_bytes(part) for part in parts) == VECTOR:
        return blended([part for part in parts if isinstance(part, Splat)])
    if len(parts) % 2 == 0 and len(parts) > 2:
        half = len(parts) // 2
        return Parts(kind, (halved(kind, parts[:half]), halved(kind, parts[half:])))
    return Parts(kind, tuple(parts))


def _splat_bytes(tree: Tree) -> int:
    """The bytes of one value in all lanes; of other trees, more than a register has."""
    alone = isinstance(tree, Splat) and tree.period == 1 and tree.type.kind != "b"
    return size_of(tree.type) if alone and isinstance(tree, Splat) else VECTOR + 1


def first_lanes(count: int, kind: Type) -> Expr:
    """Whether a lane is one of the first ``count``, fewer than all."""
    return Expr("call", kind, (const(count * (VECTOR // kind.lanes), i32),), "pred_scalar2")


def blended(splats: list[Splat]) -> Expr:
    """One register of several values, each in lanes side by side."""
    lanes = sum(splat.type.lanes for splat in splats)
    *before, last = (register(splat.resized(lanes)) for splat in splats)
    end = lanes - splats[-1].type.lanes
    for value, splat in zip(reversed(before), reversed(splats[:-1]), strict=True):
        last = make("select", first_lanes(end, vector(boolean, lanes)), value, last)
        end -= splat.type.lanes
    return last


def interleaved_parts(parts: list[Tree]) -> Tree:
    """n-way interleaving as two-way: evens and odds."""
    if len(parts) % 2 == 0 and len(parts) > 2:
        return interleaved_parts([interleaved_parts(parts[::2]), interleaved_parts(parts[1::2])])
    if all(isinstance(part, Splat) and part.period == 1 for part in parts):
        return halved("interleave", parts)
    return Parts("interleave", tuple(parts))


def lanes_of(tree: Tree) -> int:
    """All lanes of a tree."""
    if isinstance(tree, Parts):
        return sum(map(lanes_of, tree.parts))
    return tree.type.lanes


def sliced_tree(tree: Tree, start: int, lanes: int) -> Tree:
    """``lanes`` consecutive lanes from ``start`` on."""
    if lanes_of(tree) == lanes:
        return tree
    if isinstance(tree, Splat) and start % tree.period == lanes % tree.period == 0:
        return tree.resized(lanes)
    if isinstance(tree, Parts) and tree.kind == "interleave":
        tree = halved("concat", [*registers_of(tree)])
    if isinstance(tree, Parts):
        kept: list[Tree] = []
        for part in tree.parts:
            size = lanes_of(part)
            low, high = max(start, 0), min(start + lanes, size)
            if low < high:
                kept.append(sliced_tree(part, low, high - low))
            start -= size
        if len({*map(lanes_of, kept)}) == 1:
            return halved("concat", kept)
    raise SelectError("lanes: a slice must take whole registers")


def alternate_lanes(tree: Tree, part: int, ways: int) -> Tree:
    """Every ``ways``-th lane, from lane ``part`` on."""
    if isinstance(tree, Parts) and tree.kind == "interleave":
        inner = len(tree.parts)
        if ways % inner == 0:
            rest = ways // inner
            below = tree.parts[part % inner]
            return below if rest == 1 else alternate_lanes(below, part // inner, rest)
        if inner % ways == 0:
            return interleaved_parts(list(tree.parts[part::ways]))
    return dealt(tree, ways)[part]


def dealt(tree: Tree, ways: int) -> list[Tree]:
    """The lanes in turns, as ``ways`` trees: pairs of registers are dealt by one permutation."""
    if isinstance(tree, Splat) and tree.period == 1 and tree.type.lanes % ways == 0:
        return [tree.resized(tree.type.lanes // ways)] * ways
    if isinstance(tree, Parts) and tree.kind == "interleave" and len(tree.parts) == ways:
        return list(tree.parts)
    if ways > 2 and ways % 2 == 0:
        even, odd = (dealt(half, ways // 2) for half in dealt(tree, 2))
        return [half for pair in zip(even, odd, strict=True) for half in pair]
    if isinstance(tree, Parts) and tree.kind == "concat" and all(
        isinstance(part, Splat | Parts) for part in tree.parts
    ):  # fmt: skip
        columns = [dealt(part, ways) for part in tree.parts]
        return [halved("concat", [column[i] for column in columns]) for i in range(ways)]
    if ways != 2 or not isinstance(tree, Parts):
        raise SelectError(
            f"lanes: lanes in {ways} turns must fill pairs of registers, but got {lanes_of(tree)}"
        )
    return _dealt_pairs(registers_of(tree))


def _dealt_pairs(registers: list[Expr]) -> list[Tree]:
    """The even and the odd lanes of consecutive registers."""
    if len(registers) % 2 or len({each.type for each in registers}) > 1:
        raise SelectError(
            f"lanes: lanes in 2 turns must fill pairs of registers, but got {len(registers)}"
        )
    pairs = zip(registers[::2], registers[1::2], strict=True)
    halves = [dealt_pair(make("concat", *pair)) for pair in pairs]
    return [halved("concat", [half[i] for half in halves]) for i in (0, 1)]


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
    bits = max((_element_bits(tree) for tree in trees if not _is_bool(tree)), default=8)
    lanes = VECTOR * 8 // bits
    if kind.lanes > lanes:  # a splat alone decides nothing: consecutive registers
        count = kind.lanes // lanes
        columns = [[_resize(tree, lanes) for _ in range(count)] for tree in trees]
        return halved("concat", [map_trees(function, [c[i] for c in columns], vector(kind, lanes))
                                  for i in range(count)])  # fmt: skip
    leaves = [register(tree) for tree in trees]
    _check_leaves(leaves)
    return function(*leaves)


def map_registers(function: Callable[..., Expr], trees: list[Tree]) -> list[Expr]:
    """``function`` on corresponding registers of consecutive lanes; splats are registers, too."""
    rows = [registers_of(tree) for tree in trees]
    count = max(len(row) for row, tree in zip(rows, trees, strict=True) if _decides(tree, trees))
    for at, tree in enumerate(trees):
        if isinstance(tree, Splat):
            rows[at] = [register(part) for part in _cut(tree, count)]
    if any(len(row) != count for row in rows):
        raise SelectError("lanes: operands of different widths")
    columns = list(zip(*rows, strict=True))
    for column in columns:
        _check_leaves([*column])
    return [function(*column) for column in columns]


def _decides(tree: Tree, trees: list[Tree]) -> bool:
    """Whether a tree says how many registers there are: no splat, as long as there are others."""
    return not isinstance(tree, Splat) or all(isinstance(each, Splat) for each in trees)


def _check_leaves(leaves: list[Expr]) -> None:
    """Operands of one operation are registers, of as many lanes each; a splat may be narrower."""
    for leaf in leaves:
        if leaf.type.lanes != leaves[0].type.lanes:
            raise SelectError("lanes: operands of different widths")
        filled = size_of(leaf.type) == VECTOR or leaf.op in ("tile", "const")
        if leaf.type.kind != "b" and not filled:
            raise SelectError(f"lanes: an operand must fill a vector register, but got {leaf.type}")


def _is_bool(tree: Tree) -> bool:
    return not isinstance(tree, Parts) and tree.type.kind == "b"


def _element_bits(tree: Tree) -> int:
    assert not isinstance(tree, Parts)
    return tree.type.bits


def _resize(tree: Tree, lanes: int) -> Tree:
    if isinstance(tree, Splat) and lanes % tree.period == 0:
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
    if isinstance(tree, Parts) and tree.kind == shape.kind and len(tree.parts) == count:
        return list(tree.parts)
    if isinstance(tree, Parts) and all(_splits(part, shape.kind, count) for part in tree.parts):
        columns = [_like(part, shape) for part in tree.parts]
        join = halved if tree.kind == "concat" else _woven
        return [join(tree.kind, [column[i] for column in columns]) for i in range(count)]
    if isinstance(tree, Expr):
        raise SelectError("lanes: the operands hold their lanes in different orders")
    return dealt(tree, count) if shape.kind == "interleave" else _cut(tree, count)


def _woven(_: str, parts: list[Tree]) -> Tree:
    return interleaved_parts(parts)


def _splits(tree: Tree, kind: str, count: int) -> bool:
    if isinstance(tree, Splat):
        return tree.period == 1
    return isinstance(tree, Parts) and tree.kind == kind and len(tree.parts) == count


def _cut(tree: Splat | Parts, count: int) -> list[Tree]:
    """``count`` equal parts of consecutive lanes."""
    if isinstance(tree, Splat):
        lanes = tree.type.lanes // count
        if lanes % tree.period or lanes * count != tree.type.lanes:
            raise SelectError(f"lanes: {count} parts must be whole words, but got {tree.type}")
        return [tree.resized(lanes)] * count
    registers = registers_of(tree)
    if len(registers) % count:
        raise SelectError(f"lanes: {count} parts must be registers, but got {len(registers)}")
    size = len(registers) // count
    return [halved("concat", [*registers[i * size : (i + 1) * size]]) for i in range(count)]


def dealt_pair(wide: Expr) -> list[Expr]:
    """The even and the odd lanes of a value of two registers, as halves of one pair."""
    pair = make("concat", *(make("deinterleave", wide, attr=(i, 2)) for i in (0, 1)))
    lanes = wide.type.lanes // 2
    return [make("slice", pair, attr=(i * lanes, lanes)) for i in (0, 1)]
