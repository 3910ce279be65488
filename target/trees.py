"""Wide values as trees of registers, and lane order as their shape.

A value of many lanes is a tree of registers: ``Parts("concat", ...)`` holds consecutive lanes,
``Parts("interleave", ...)`` alternating ones, ``Splat`` the same few lanes everywhere. Leaves are
expressions of register size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..tir.expr import Expr, const, make
from ..tir.types import Type, boolean, vector
from .errors import SelectError
from .instruction import size_of
from .roles import Roles


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


def has_interleaved(tree: Tree) -> bool:
    """Whether lanes alternate anywhere in the tree."""
    if not isinstance(tree, Parts):
        return False
    return tree.kind != "concat" or any(map(has_interleaved, tree.parts))


class Trees:
    """Trees of the registers of a machine whose rows fill ``roles``."""

    def __init__(self, roles: Roles) -> None:
        self.roles, self.bytes = roles, roles.bytes

    def repeated(self, tree: Tree, n: int) -> Tree:
        """Each lane ``n`` times: registers interleaved with themselves."""
        if isinstance(tree, Parts) and tree.kind == "concat":
            return Parts("concat", tuple(self.repeated(part, n) for part in tree.parts))
        return self.interleaved([tree] * n)

    def registers(self, tree: Tree) -> list[Expr]:
        """The registers of consecutive lanes; lanes that alternate are brought into order by one
        permutation a pair."""
        if isinstance(tree, Parts):
            rows = [self.registers(part) for part in tree.parts]
            for leaf in (leaf for row in rows for leaf in row):
                if leaf.type.kind != "b" and size_of(leaf.type) != self.bytes:
                    raise SelectError(
                        f"lanes: parts must fill vector registers, but got {leaf.type}"
                    )
            if tree.kind == "concat":
                return [leaf for row in rows for leaf in row]
            return self._in_order(rows)
        if isinstance(tree, Splat):
            return [
                register(part) for part in self._cut(tree, max(size_of(tree.type) // self.bytes, 1))
            ]
        return [tree]

    def _in_order(self, rows: list[list[Expr]]) -> list[Expr]:
        """Registers whose lanes alternate, in order."""
        if len(rows) % 2:
            raise SelectError(f"lanes: registers alternate in pairs, but got {len(rows)} of them")
        if len(rows) > 2:
            rows = [self._in_order(rows[::2]), self._in_order(rows[1::2])]
        found: list[Expr] = []
        for low, high in zip(*rows, strict=True):
            whole, lanes = make("interleave", low, high), low.type.lanes
            found += [make("slice", whole, attr=(i * lanes, lanes)) for i in (0, 1)]
        return found

    def joined(self, parts: list[Tree]) -> Tree:
        """Equal parts one after another, as a binary tree where their number allows it."""
        if (alike := _alike(parts)) is not None:
            return alike
        if len(parts) == 1:
            return parts[0]
        if sum(map(self._splat_bytes, parts)) == self.bytes:
            return self.blended([part for part in parts if isinstance(part, Splat)])
        if len(parts) % 2 == 0 and len(parts) > 2:
            half = len(parts) // 2
            return Parts("concat", (self.joined(parts[:half]), self.joined(parts[half:])))
        return Parts("concat", tuple(parts))

    def _splat_bytes(self, tree: Tree) -> int:
        """The bytes of one value in all lanes; of other trees, more than a register has."""
        alone = isinstance(tree, Splat) and tree.period == 1 and tree.type.kind != "b"
        return size_of(tree.type) if alone and isinstance(tree, Splat) else self.bytes + 1

    def blended(self, splats: list[Splat]) -> Expr:
        """One register of several values, each in lanes side by side."""
        lanes = sum(splat.type.lanes for splat in splats)
        *before, last = (register(splat.resized(lanes)) for splat in splats)
        end = lanes - splats[-1].type.lanes
        for value, splat in zip(reversed(before), reversed(splats[:-1]), strict=True):
            first = self.roles.first_lanes(end, vector(boolean, lanes))
            if first is None:
                raise SelectError(f"lanes: no row tells the first {end} of {lanes} lanes")
            last = make("select", first, value, last)
            end -= splat.type.lanes
        return last

    def interleaved(self, parts: list[Tree]) -> Tree:
        """n-way interleaving as two-way: evens and odds."""
        if len(parts) % 2 == 0 and len(parts) > 2:
            return self.interleaved([self.interleaved(parts[::2]), self.interleaved(parts[1::2])])
        alike = _alike(parts)
        return Parts("interleave", tuple(parts)) if alike is None or alike.period > 1 else alike

    def sliced(self, tree: Tree, start: int, lanes: int) -> Tree:
        """``lanes`` consecutive lanes from ``start`` on."""
        if lanes_of(tree) == lanes:
            return tree
        if isinstance(tree, Splat) and start % tree.period == lanes % tree.period == 0:
            return tree.resized(lanes)
        if isinstance(tree, Parts) and tree.kind == "interleave":
            tree = self.joined([*self.registers(tree)])
        if isinstance(tree, Parts):
            kept: list[Tree] = []
            for part in tree.parts:
                size = lanes_of(part)
                low, high = max(start, 0), min(start + lanes, size)
                if low < high:
                    kept.append(self.sliced(part, low, high - low))
                start -= size
            if len({*map(lanes_of, kept)}) == 1:
                return self.joined(kept)
        raise SelectError("lanes: a slice must take whole registers")

    def alternate(self, tree: Tree, part: int, ways: int) -> Tree:
        """Every ``ways``-th lane, from lane ``part`` on."""
        if isinstance(tree, Parts) and tree.kind == "interleave":
            inner = len(tree.parts)
            if ways % inner == 0:
                rest = ways // inner
                below = tree.parts[part % inner]
                return below if rest == 1 else self.alternate(below, part // inner, rest)
            if inner % ways == 0:
                return self.interleaved(list(tree.parts[part::ways]))
        return self.dealt(tree, ways)[part]

    def dealt(self, tree: Tree, ways: int) -> list[Tree]:
        """The lanes in turns, as ``ways`` trees: one permutation deals a pair of registers."""
        if isinstance(tree, Splat) and tree.period == 1 and tree.type.lanes % ways == 0:
            return [tree.resized(tree.type.lanes // ways)] * ways
        if isinstance(tree, Parts) and tree.kind == "interleave" and len(tree.parts) == ways:
            return list(tree.parts)
        if ways > 2 and ways % 2 == 0:
            even, odd = (self.dealt(half, ways // 2) for half in self.dealt(tree, 2))
            return [half for pair in zip(even, odd, strict=True) for half in pair]
        if isinstance(tree, Parts) and tree.kind == "concat" and all(
            isinstance(part, Splat | Parts) for part in tree.parts
        ):  # fmt: skip
            columns = [self.dealt(part, ways) for part in tree.parts]
            return [self.joined([column[i] for column in columns]) for i in range(ways)]
        if ways != 2 or not isinstance(tree, Parts):
            raise SelectError(
                f"lanes: lanes in {ways} turns must fill pairs of registers, "
                f"but got {lanes_of(tree)}"
            )
        return self._dealt_pairs(self.registers(tree))

    def _dealt_pairs(self, registers: list[Expr]) -> list[Tree]:
        """The even and the odd lanes of consecutive registers."""
        if len(registers) % 2 or len({each.type for each in registers}) > 1:
            raise SelectError(
                f"lanes: lanes in 2 turns must fill pairs of registers, but got {len(registers)}"
            )
        pairs = zip(registers[::2], registers[1::2], strict=True)
        halves = [dealt_pair(make("concat", *pair)) for pair in pairs]
        return [self.joined([half[i] for half in halves]) for i in (0, 1)]

    def mapped(self, function: Callable[..., Tree], trees: list[Tree], kind: Type) -> Tree:
        """``function`` on corresponding leaves; splats take the shape of the others."""
        shapes = [tree for tree in trees if isinstance(tree, Parts)]
        if shapes:
            shape = next((s for s in shapes if s.kind == "interleave"), shapes[0])
            columns = [self._like(tree, shape) for tree in trees]
            inner = vector(kind, kind.lanes // len(shape.parts))
            return Parts(
                shape.kind,
                tuple(
                    self.mapped(function, [c[i] for c in columns], inner)
                    for i in range(len(shape.parts))
                ),
            )
        if all(isinstance(tree, Splat) for tree in trees):
            splats = [tree for tree in trees if isinstance(tree, Splat)]
            if all(splat.value.type.lanes == 1 for splat in splats):
                value = register(function(*(splat.value for splat in splats)))
                return Splat(value, vector(value.type, kind.lanes))
        bits = max((_element_bits(tree) for tree in trees if not _is_bool(tree)), default=8)
        lanes = self.bytes * 8 // bits
        if kind.lanes > lanes:  # a splat alone decides nothing: consecutive registers
            count = kind.lanes // lanes
            columns = [[_resize(tree, lanes) for _ in range(count)] for tree in trees]
            each = vector(kind, lanes)
            parts = [self.mapped(function, [c[i] for c in columns], each) for i in range(count)]
            return self.joined(parts)
        leaves = [register(tree) for tree in trees]
        self._check_leaves(leaves)
        return function(*leaves)

    def map_registers(self, function: Callable[..., Expr], trees: list[Tree]) -> list[Expr]:
        """``function`` on corresponding registers of consecutive lanes, those of splats, too."""
        rows = [self.registers(tree) for tree in trees]
        count = max(
            len(row) for row, tree in zip(rows, trees, strict=True) if _decides(tree, trees)
        )
        for at, tree in enumerate(trees):
            if isinstance(tree, Splat):
                rows[at] = [register(part) for part in self._cut(tree, count)]
        if any(len(row) != count for row in rows):
            raise SelectError("lanes: operands of different widths")
        columns = list(zip(*rows, strict=True))
        for column in columns:
            self._check_leaves([*column])
        return [function(*column) for column in columns]

    def _check_leaves(self, leaves: list[Expr]) -> None:
        """Operands are registers, of as many lanes each; a splat may be narrower."""
        for leaf in leaves:
            if leaf.type.lanes != leaves[0].type.lanes:
                raise SelectError("lanes: operands of different widths")
            filled = size_of(leaf.type) == self.bytes or leaf.op in ("tile", "const")
            if leaf.type.kind != "b" and not filled:
                raise SelectError(
                    f"lanes: an operand must fill a vector register, but got {leaf.type}"
                )

    def _like(self, tree: Tree, shape: Parts) -> list[Tree]:
        """``tree`` divided as ``shape`` is."""
        count = len(shape.parts)
        if isinstance(tree, Parts) and tree.kind == shape.kind:
            if (fewer := self._grouped(tree, count)) is not None:
                return fewer
        elif isinstance(tree, Parts) and all(_splits(p, shape.kind, count) for p in tree.parts):
            columns = [self._like(part, shape) for part in tree.parts]
            parts = [[column[i] for column in columns] for i in range(count)]
            if tree.kind == "interleave":
                return [self.interleaved(each) for each in parts]
            return [self.joined(each) for each in parts]
        if isinstance(tree, Expr):
            raise SelectError("lanes: the operands hold their lanes in different orders")
        return self.dealt(tree, count) if shape.kind == "interleave" else self._cut(tree, count)

    def _grouped(self, tree: Parts, count: int) -> list[Tree] | None:
        """The parts as ``count`` groups: of neighbours, or of those that alternate."""
        if len(tree.parts) % count:
            return None
        if tree.kind == "concat":
            return self._neighbours(tree.parts, count)
        groups = [tree.parts[i::count] for i in range(count)]
        return [each[0] if len(each) == 1 else self.interleaved([*each]) for each in groups]

    def _neighbours(self, parts: Sequence[Tree], count: int) -> list[Tree]:
        """Consecutive parts as ``count`` trees of as many."""
        size = len(parts) // count
        return [self.joined([*parts[i * size : (i + 1) * size]]) for i in range(count)]

    def _cut(self, tree: Splat | Parts, count: int) -> list[Tree]:
        """``count`` equal parts of consecutive lanes."""
        if isinstance(tree, Splat):
            lanes = tree.type.lanes // count
            if lanes % tree.period or lanes * count != tree.type.lanes:
                raise SelectError(f"lanes: {count} parts must be whole words, but got {tree.type}")
            return [tree.resized(lanes)] * count
        registers = self.registers(tree)
        if len(registers) % count:
            raise SelectError(f"lanes: {count} parts must be registers, but got {len(registers)}")
        return self._neighbours(registers, count)


def _alike(parts: list[Tree]) -> Splat | None:
    """Parts that are all one splat, as one."""
    first = parts[0]
    if not isinstance(first, Splat) or any(part != first for part in parts):
        return None
    return first.resized(first.type.lanes * len(parts))


def lanes_of(tree: Tree) -> int:
    """All lanes of a tree."""
    if isinstance(tree, Parts):
        return sum(map(lanes_of, tree.parts))
    return tree.type.lanes


def _decides(tree: Tree, trees: list[Tree]) -> bool:
    """Whether a tree says how many registers there are: no splat, as long as there are others."""
    return not isinstance(tree, Splat) or all(isinstance(each, Splat) for each in trees)


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


def _splits(tree: Tree, kind: str, count: int) -> bool:
    if isinstance(tree, Splat):
        return tree.period == 1
    return isinstance(tree, Parts) and tree.kind == kind and len(tree.parts) == count


def dealt_pair(wide: Expr) -> list[Expr]:
    """The even and the odd lanes of a value of two registers, as halves of one pair."""
    pair = make("concat", *(make("deinterleave", wide, attr=(i, 2)) for i in (0, 1)))
    lanes = wide.type.lanes // 2
    return [make("slice", pair, attr=(i * lanes, lanes)) for i in (0, 1)]


def halves_of_pairs(leaves: Sequence[Expr]) -> bool:
    """Whether all are the same half of values that have two."""
    first = leaves[0].attr
    return all(leaf.op == "slice" and leaf.attr == first and _halved(leaf) for leaf in leaves)


def _halved(leaf: Expr) -> bool:
    return leaf.args[0].type.lanes == 2 * leaf.type.lanes and leaf.attr[0] % leaf.type.lanes == 0


def plus(a: Expr, b: Expr) -> Expr:
    """A sum of registers; the same halves of pairs are those of a sum of pairs, which may
    accumulate."""
    if halves_of_pairs((a, b)) and a.type == b.type:
        return make("slice", a.args[0] + b.args[0], attr=a.attr)
    return a + b
