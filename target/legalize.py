"""Wide values become registers, and lane order becomes explicit.

A value of many lanes is a tree of registers: ``Parts("concat", ...)`` holds consecutive lanes,
``Parts("interleave", ...)`` alternating ones, ``Splat`` the same few lanes everywhere. Lane-wise
operators go through both kinds of parts, so permutations cancel by themselves: widening gives
interleaved halves for nothing (even and odd lanes), and narrowing interleaved halves needs none.

    sat_cast(i16, x: i32x64)  with x = interleave(lo, hi)
    one register:  interleave(sat_cast(i16, lo), sat_cast(i16, hi))     which is vsatwh(hi, lo)

Leaves are expressions of register size, ready for selection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tir.expr import Expr, cast, const, make
from ..tir.types import Type, i16, i32, vector
from .errors import SelectError
from .gather import first_lanes, gathered
from .shuffle import is_shuffle, shuffled

VECTOR = 128  # bytes of a vector register

CAST_OPS = ("cast", "sat_cast", "reinterpret")
WIDENING_OPS = ("widening_add", "widening_sub", "widening_mul")


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
Fetch = Callable[[Expr, int, Type], Expr]  # (load, byte offset in it, type) -> register-size load


def size_of(kind: Type) -> int:
    """Bytes of a value in registers."""
    return kind.bits * kind.lanes // 8 if kind.kind != "b" else kind.lanes


class Legalizer:
    """Turns expressions into trees; ``fetch`` makes the loads (registers, memory versions), and
    ``expand`` writes a leaf in steps that selection can combine with what follows."""

    def __init__(self, fetch: Fetch, expand: Callable[[Expr], Expr | None]) -> None:
        self.fetch, self.expand = fetch, expand
        self.memo: dict[Expr, Tree] = {}

    def forget(self) -> None:
        """Loads may have new values from here on."""
        self.memo.clear()

    def tree(self, node: Expr) -> Tree:
        found = self.memo.get(node)
        if found is None:
            found = self.memo[node] = self._tree(node)
        return found

    def _tree(self, node: Expr) -> Tree:
        kind = node.type
        if kind.lanes == 1:
            return self._scalar(node)
        if node.op == "const":
            return Splat(const(node.attr, kind.element), kind)
        if node.op in ("tile", "repeat"):
            return self._broadcast(node)
        if node.op == "load":
            return self._load(node)
        if is_shuffle(node):
            moved = shuffled(node, lambda part: self._whole(part))
            if moved is not None:
                return _halved("concat", list(moved))
        if node.op == "concat":
            found = gathered(node, self.fetch) or first_lanes(node)
            if found is not None:
                return found
            return _halved("concat", [self.tree(arg) for arg in node.args])
        if node.op == "interleave":
            return _interleaved([self.tree(arg) for arg in node.args])
        if node.op == "slice":
            return _sliced(self.tree(node.args[0]), *node.attr)
        if node.op == "deinterleave":
            return _alternate(self.tree(node.args[0]), *node.attr)
        if node.op == "group_sum":
            return self._group_sum(node)
        if node.op == "lookup":
            table = node.args[0]
            return _map(lambda x: self._table(table, x), [self.tree(node.args[1])], kind)
        if node.op in CAST_OPS:
            return _converted(node, self.tree(node.args[0]))
        if node.op in WIDENING_OPS:
            narrow = vector(node.args[0].type, kind.lanes)
            return _map(lambda *x: _doubled(node.op, x), [*map(self.tree, node.args)], narrow)
        trees = [self.tree(arg) for arg in node.args]
        return _map(lambda *leaves: self._apply(node, leaves), trees, kind)

    def _apply(self, node: Expr, leaves: tuple[Expr, ...]) -> Expr:
        if node.op == "add" and _halves_of_pairs(leaves):
            whole = leaves[0].args[0] + leaves[1].args[0]
            return make("slice", whole, attr=leaves[0].attr)
        leaf: Expr | None = make(node.op, *leaves, attr=node.attr)
        while leaf is not None:
            last, leaf = leaf, self.expand(leaf) if leaf.type.lanes > 1 else None
        return last

    def _scalar(self, node: Expr) -> Tree:
        if node.op == "load":
            return self.fetch(node, 0, node.type)
        if not node.args:
            return node
        args = tuple(_leaf(self.tree(arg)) for arg in node.args)
        return Expr(node.op, node.type, args, node.attr)

    def _whole(self, node: Expr) -> list[Expr] | None:
        """The registers of a value in order of its lanes, if they are in order."""
        tree = self.tree(node)
        return None if _has_interleaved(tree) else _in_order(tree)

    def _broadcast(self, node: Expr) -> Tree:
        inner = self.tree(node.args[0])
        value = node.args[0].type
        if isinstance(inner, Splat):
            return inner.resized(node.type.lanes)
        if (
            isinstance(inner, Expr)
            and size_of(value) <= 4
            and (node.op == "tile" or value.lanes == 1)
        ):
            return Splat(inner, node.type)
        if node.op == "tile" and size_of(value) % VECTOR == 0:
            return _halved("concat", [inner] * node.attr)
        if node.op == "repeat" and size_of(value) % VECTOR == 0:
            return _repeated(inner, node.attr)
        raise SelectError(
            f"lanes: a broadcast repeats a scalar or registers, but got {node.type} of {value}"
        )

    def _load(self, node: Expr) -> Tree:
        total = size_of(node.type)
        if total in (1, 2, 4, 8, VECTOR):
            return self.fetch(node, 0, node.type)
        if total % VECTOR:
            raise SelectError(f"lanes: a load must fill vector registers, but got {node.type}")
        lanes = VECTOR // node.type.bytes
        leaves: list[Tree] = [
            self.fetch(node, start, vector(node.type, lanes)) for start in range(0, total, VECTOR)
        ]
        return _halved("concat", leaves)

    def _group_sum(self, node: Expr) -> Tree:
        """A sum of products of register-size operands stays whole: one dot-product leaf a part."""
        inner = node.args[0]
        sources = _factors(inner)
        if sources is None and inner.type.bits == 32:
            return _reduced(self.tree(inner), node.attr)
        if sources is None:
            raise SelectError("lanes: a grouped sum must be of products of narrow operands")

        few = inner.type.bits // sources[0].type.bits  # lanes that one instruction sums

        def leaf(*registers: Expr) -> Expr:
            wide = vector(inner.type, registers[0].type.lanes)
            a, b = (Expr("cast", wide, (register,)) for register in registers)
            return make("group_sum", a * b, attr=few)

        if node.attr % few:
            raise SelectError(
                f"lanes: a grouped sum takes {few} lanes or more, but got {node.attr}"
            )
        narrow = vector(sources[0].type, inner.type.lanes)
        sums = _map(leaf, [self.tree(source) for source in sources], narrow)
        return _reduced(sums, node.attr // few)

    def _table(self, table: Expr, index: Expr) -> Expr:
        """A 256-entry byte table, by eight masked look-ups of 32 entries in two registers."""
        lanes = VECTOR // table.type.bytes
        kind = vector(index.type, lanes)
        halves = [self.fetch(table, start, kind) for start in (0, VECTOR)]
        dealt = [_shuffled(half) for half in halves]
        total: Expr | None = None
        for part in range(8):
            source, number = dealt[part // 4], const(part, i32)
            if total is None:
                total = Expr("call", kind, (index, source, number), "vlutvvbi")
            else:
                total = Expr("call", kind, (total, index, source, number), "vlutvvb_oracci")
        assert total is not None
        return total


def _shuffled(half: Expr) -> Expr:
    """The order in which the look-up reads a table register: its two halves interleaved."""
    lanes = half.type.lanes // 2
    return make(
        "interleave", make("slice", half, attr=(0, lanes)), make("slice", half, attr=(lanes, lanes))
    )


def _reduced(tree: Tree, n: int) -> Tree:
    """Each ``n`` neighbouring lanes summed: whole registers first, then pairs of lanes."""
    if n == 1:
        return tree
    registers = _in_order(tree)
    lanes = registers[0].type.lanes
    if n > lanes:
        if n % lanes:
            raise SelectError(f"lanes: a sum over lanes must take whole registers, but got {n}")
        count = n // lanes
        groups = [registers[i : i + count] for i in range(0, len(registers), count)]
        registers, n = [_total(group) for group in groups], lanes
    while n > 1:
        if n % 2 or len(registers) % 2:
            raise SelectError("lanes: a sum over lanes must fill registers, a power of two each")
        halves = [_dealt(Parts("concat", (a, b)))
                  for a, b in zip(registers[::2], registers[1::2], strict=True)]  # fmt: skip
        registers = [register(even) + register(odd) for even, odd in halves]
        n //= 2
    return _halved("concat", list(registers))


def _has_interleaved(tree: Tree) -> bool:
    if not isinstance(tree, Parts):
        return False
    return tree.kind != "concat" or any(map(_has_interleaved, tree.parts))


def _repeated(tree: Tree, n: int) -> Tree:
    """Each lane ``n`` times: registers interleaved with themselves."""
    if isinstance(tree, Parts) and tree.kind == "concat":
        return Parts("concat", tuple(_repeated(part, n) for part in tree.parts))
    return _interleaved([tree] * n)


def _in_order(tree: Tree) -> list[Expr]:
    """The registers of consecutive lanes."""
    if isinstance(tree, Parts):
        if tree.kind != "concat":
            raise SelectError("lanes: a sum over lanes must be of lanes in memory order")
        return [leaf for part in tree.parts for leaf in _in_order(part)]
    return [register(tree)]


def _total(terms: list[Expr]) -> Expr:
    """The sum as a chain, so that later terms accumulate."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _factors(node: Expr) -> tuple[Expr, Expr] | None:
    """The two narrow operands whose wide product ``node`` is; a lone operand is times one."""
    if node.op == "mul":
        a, b = map(_uncast, node.args)
        return (a, b) if a is not None and b is not None else None
    source = _uncast(node)
    if source is not None and source.op == "widening_mul":
        return source.args[0], source.args[1]
    return None if source is None else (source, const(1, vector(Type("u", 8), node.type.lanes)))


def _uncast(node: Expr) -> Expr | None:
    """The source of a widening cast; a constant counts as a byte."""
    if node.op == "cast" and node.args[0].type.bits < node.type.bits:
        return node.args[0]
    if node.op == "const" and 0 <= node.attr <= 255:
        return const(node.attr, vector(Type("u", 8), node.type.lanes))
    return None


def _leaf(tree: Tree) -> Expr:
    if isinstance(tree, Expr):
        return tree
    raise SelectError("lanes: a scalar was expected")


def _halved(kind: str, parts: list[Tree]) -> Tree:
    """Equal parts as a binary tree where their number allows it."""
    if all(isinstance(part, Splat) for part in parts) and len({*parts}) == 1:
        first = parts[0]
        assert isinstance(first, Splat)
        return first.resized(first.type.lanes * len(parts))
    if len(parts) == 1:
        return parts[0]
    if len(parts) % 2 == 0 and len(parts) > 2:
        half = len(parts) // 2
        return Parts(kind, (_halved(kind, parts[:half]), _halved(kind, parts[half:])))
    return Parts(kind, tuple(parts))


def _interleaved(parts: list[Tree]) -> Tree:
    """n-way interleaving as two-way: evens and odds."""
    if len(parts) % 2 == 0 and len(parts) > 2:
        return Parts("interleave", (_interleaved(parts[::2]), _interleaved(parts[1::2])))
    return _halved("interleave", parts)


def _lanes(tree: Tree) -> int:
    if isinstance(tree, Parts):
        return sum(map(_lanes, tree.parts))
    return tree.type.lanes


def _sliced(tree: Tree, start: int, lanes: int) -> Tree:
    if isinstance(tree, Splat):
        return tree.resized(lanes)
    if isinstance(tree, Parts) and tree.kind == "concat":
        kept: list[Tree] = []
        for part in tree.parts:
            size = _lanes(part)
            low, high = max(start, 0), min(start + lanes, size)
            if low < high:
                kept.append(part if (low, high) == (0, size) else _sliced(part, low, high - low))
            start -= size
        return _halved("concat", kept)
    if _lanes(tree) == lanes:
        return tree
    raise SelectError("lanes: a slice must take whole registers")


def _alternate(tree: Tree, part: int, ways: int) -> Tree:
    if isinstance(tree, Splat):
        return tree.resized(tree.type.lanes // ways)
    if isinstance(tree, Parts) and tree.kind == "interleave":
        if len(tree.parts) == ways:
            return tree.parts[part]
        if ways % len(tree.parts) == 0:
            inner = len(tree.parts)
            return _alternate(tree.parts[part % inner], part // inner, ways // inner)
    raise SelectError("lanes: deinterleave must undo an interleaving")


def _map(function: Callable[..., Tree], trees: list[Tree], kind: Type) -> Tree:
    """``function`` on corresponding leaves; splats take the shape of the others."""
    shapes = [tree for tree in trees if isinstance(tree, Parts)]
    if shapes:
        shape = next((s for s in shapes if s.kind == "interleave"), shapes[0])
        columns = [_like(tree, shape) for tree in trees]
        inner = vector(kind, kind.lanes // len(shape.parts))
        return Parts(
            shape.kind,
            tuple(_map(function, [c[i] for c in columns], inner) for i in range(len(shape.parts))),
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
        return _halved("concat", [_map(function, [c[i] for c in columns], vector(kind, lanes))
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
        return [_halved(tree.kind, [column[i] for column in columns]) for i in range(count)]
    if isinstance(tree, Parts) and shape.kind == "interleave" and count == 2:
        return _dealt(tree)
    raise SelectError("lanes: the operands hold their lanes in different orders")


def _splits(tree: Tree, kind: str, count: int) -> bool:
    return isinstance(tree, Splat) or (
        isinstance(tree, Parts) and tree.kind == kind and len(tree.parts) == count
    )


def _dealt(tree: Parts) -> list[Tree]:
    """Consecutive registers as even and odd lanes: one permutation of a pair."""
    low, high = tree.parts
    if isinstance(low, Expr) and isinstance(high, Expr):
        whole = make("concat", low, high)
        lanes = low.type.lanes
        pair = make("concat", *(make("deinterleave", whole, attr=(i, 2)) for i in (0, 1)))
        return [make("slice", pair, attr=(i * lanes, lanes)) for i in (0, 1)]
    columns = [_dealt(part) if isinstance(part, Parts) else [part, part] for part in (low, high)]
    return [Parts("concat", (columns[0][i], columns[1][i])) for i in (0, 1)]


def _converted(node: Expr, tree: Tree) -> Tree:
    """A cast: the same size register by register; wider and narrower by halves."""
    target, source = node.type, node.args[0].type
    if isinstance(tree, Splat) and tree.value.type.lanes == 1:
        return Splat(Expr(node.op, target.element, (tree.value,)), target)
    if node.op == "reinterpret" or target.bits == source.bits:
        return _map(lambda x: Expr(node.op, vector(target, x.type.lanes), (x,)), [tree], source)
    if target.bits < source.bits:
        return _narrowed(node, tree)
    return _widened(tree, target)


def _narrowed(node: Expr, tree: Tree) -> Tree:
    target, source = node.type.element, node.args[0].type
    if source.bits == 4 * target.bits:
        if node.op == "cast":
            half = cast(Type(target.kind, 16), node.args[0])
        else:
            half = Expr("sat_cast", vector(i16, source.lanes), node.args)
        outer = Expr(node.op, node.type, (half,))
        return _narrowed(outer, _narrowed(half, tree))
    if not isinstance(tree, Parts):
        raise SelectError(f"lanes: narrowing to {node.type} must fill a register")
    if all(isinstance(part, Expr) or isinstance(part, Splat) for part in tree.parts):
        leaves = [register(part) for part in tree.parts]
        if sum(leaf.type.lanes for leaf in leaves) * target.bytes == VECTOR:
            parts = [Expr(node.op, vector(target, leaf.type.lanes), (leaf,)) for leaf in leaves]
            return make(tree.kind, *parts)
    return Parts(tree.kind, tuple(_narrowed_part(node, part) for part in tree.parts))


def _narrowed_part(node: Expr, part: Tree) -> Tree:
    lanes = _lanes(part)
    stand_in = Expr("var", vector(node.args[0].type, lanes), (), "part")
    return _narrowed(Expr(node.op, vector(node.type, lanes), (stand_in,)), part)


def _widened(tree: Tree, target: Type) -> Tree:
    if isinstance(tree, Parts):
        inner = vector(target, target.lanes // len(tree.parts))
        return Parts(tree.kind, tuple(_widened(part, inner) for part in tree.parts))
    leaf = register(tree)
    middle = Type(target.kind if leaf.type.signed else "u", leaf.type.bits * 2, leaf.type.lanes)
    if leaf.type.signed:
        middle = Type("i", leaf.type.bits * 2, leaf.type.lanes)
    if middle.bits == target.bits:
        middle = Type(target.kind, target.bits, leaf.type.lanes)
    halves = dealt_pair(Expr("cast", middle, (leaf,)))
    if middle.bits == target.bits:
        return Parts("interleave", tuple(halves))
    inner = vector(target, leaf.type.lanes // 2)
    return Parts("interleave", tuple(_widened(half, inner) for half in halves))


def _doubled(op: str, leaves: tuple[Expr, ...]) -> Tree:
    """A widening operator on registers: even and odd lanes, as halves of one pair."""
    wide = make(op, *leaves)
    return wide if wide.type.lanes == 1 else Parts("interleave", tuple(dealt_pair(wide)))


def _halves_of_pairs(leaves: tuple[Expr, ...]) -> bool:
    """Whether all are the same half of pairs: then the pairs are added, which may accumulate."""
    return all(
        leaf.op == "slice"
        and leaf.attr == leaves[0].attr
        and size_of(leaf.args[0].type) == 2 * VECTOR
        for leaf in leaves
    )


def dealt_pair(wide: Expr) -> list[Expr]:
    """The even and the odd lanes of a value of two registers, as halves of one pair."""
    pair = make("concat", *(make("deinterleave", wide, attr=(i, 2)) for i in (0, 1)))
    lanes = wide.type.lanes // 2
    return [make("slice", pair, attr=(i * lanes, lanes)) for i in (0, 1)]
