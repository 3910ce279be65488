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

from ..tir.expr import Expr, cast, const, make
from ..tir.types import Type, i16, i32, vector
from .errors import SelectError
from .gather import first_lanes, gathered
from .shuffle import is_shuffle, shuffled
from .trees import (
    VECTOR,
    Parts,
    Splat,
    Tree,
    alternate_lanes,
    dealt_pair,
    dealt_parts,
    halved,
    has_interleaved,
    in_order,
    interleaved_parts,
    lanes_of,
    leaf_of,
    map_trees,
    register,
    repeated,
    size_of,
    sliced_tree,
)

CAST_OPS = ("cast", "sat_cast", "reinterpret")
WIDENING_OPS = ("widening_add", "widening_sub", "widening_mul")


Fetch = Callable[[Expr, int, Type], Expr]  # (load, byte offset in it, type) -> register-size load


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
                return halved("concat", list(moved))
        if node.op == "concat":
            found = gathered(node, self.fetch) or first_lanes(node)
            if found is not None:
                return found
            return halved("concat", [self.tree(arg) for arg in node.args])
        if node.op == "interleave":
            return interleaved_parts([self.tree(arg) for arg in node.args])
        if node.op == "slice":
            return sliced_tree(self.tree(node.args[0]), *node.attr)
        if node.op == "deinterleave":
            return alternate_lanes(self.tree(node.args[0]), *node.attr)
        if node.op == "group_sum":
            return self._group_sum(node)
        if node.op == "lookup":
            table = node.args[0]
            return map_trees(lambda x: self._table(table, x), [self.tree(node.args[1])], kind)
        if node.op in CAST_OPS:
            return _converted(node, self.tree(node.args[0]))
        if node.op in WIDENING_OPS:
            narrow = vector(node.args[0].type, kind.lanes)
            return map_trees(lambda *x: _doubled(node.op, x), [*map(self.tree, node.args)], narrow)
        trees = [self.tree(arg) for arg in node.args]
        return map_trees(lambda *leaves: self._apply(node, leaves), trees, kind)

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
        args = tuple(leaf_of(self.tree(arg)) for arg in node.args)
        return Expr(node.op, node.type, args, node.attr)

    def _whole(self, node: Expr) -> list[Expr] | None:
        """The registers of a value in order of its lanes, if they are in order."""
        tree = self.tree(node)
        return None if has_interleaved(tree) else in_order(tree)

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
            return halved("concat", [inner] * node.attr)
        if node.op == "repeat" and size_of(value) % VECTOR == 0:
            return repeated(inner, node.attr)
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
        return halved("concat", leaves)

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
        sums = map_trees(leaf, [self.tree(source) for source in sources], narrow)
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
    registers = in_order(tree)
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
        halves = [dealt_parts(Parts("concat", (a, b)))
                  for a, b in zip(registers[::2], registers[1::2], strict=True)]  # fmt: skip
        registers = [register(even) + register(odd) for even, odd in halves]
        n //= 2
    return halved("concat", list(registers))


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


def _converted(node: Expr, tree: Tree) -> Tree:
    """A cast: the same size register by register; wider and narrower by halves."""
    target, source = node.type, node.args[0].type
    if isinstance(tree, Splat) and tree.value.type.lanes == 1:
        return Splat(Expr(node.op, target.element, (tree.value,)), target)
    if node.op == "reinterpret" or target.bits == source.bits:
        return map_trees(
            lambda x: Expr(node.op, vector(target, x.type.lanes), (x,)), [tree], source
        )
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
    lanes = lanes_of(part)
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
