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
from ..tir.types import Type, boolean, i32, vector
from .errors import SelectError
from .gather import filled, first_lanes, gathered
from .shuffle import by_ends, is_shuffle, shuffled
from .sums import group_sum
from .trees import (
    VECTOR,
    Splat,
    Tree,
    alternate_lanes,
    halved,
    has_interleaved,
    interleaved_parts,
    map_trees,
    registers_of,
    repeated,
    size_of,
    sliced_tree,
)
from .widths import converted, doubled

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
        if node.op == "transpose":
            return self.tree(by_ends(node))
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
            return group_sum(node, self.tree)
        if node.op == "lookup":
            return self._looked_up(node)
        if node.op in CAST_OPS:
            return converted(node, self.tree(node.args[0]))
        if node.op in WIDENING_OPS:
            narrow = vector(node.args[0].type, kind.lanes)
            return map_trees(lambda *x: doubled(node.op, x), [*map(self.tree, node.args)], narrow)
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

    def _scalar(self, node: Expr) -> Expr:
        if node.op == "load":
            return self.fetch(node, 0, node.type)
        if not node.args:
            return node
        if node.op == "lookup":
            return self._scalar(_entry(*node.args))
        args = []
        for arg in node.args:
            leaf = self.tree(arg)
            if not isinstance(leaf, Expr):
                raise SelectError(
                    f"lanes: a scalar must be made of scalars, but got {node.op} of {arg.type}"
                )
            args.append(leaf)
        return Expr(node.op, node.type, tuple(args), node.attr)

    def _whole(self, node: Expr) -> list[Expr] | None:
        """The registers of a value in order of its lanes, if they are in order."""
        tree = self.tree(node)
        return None if has_interleaved(tree) else registers_of(tree)

    def _broadcast(self, node: Expr) -> Tree:
        if node.op == "tile" and _few_words(node.args[0]):
            return self._in_turns(node)
        value = node.args[0].type
        if node.op == "tile" and node.args[0].op == "load" and size_of(value) in (32, 64):
            whole = filled(node.args[0], self.fetch)
            return halved("concat", [whole] * (size_of(node.type) // VECTOR))
        if node.op == "repeat" and value.bits == 8 and 1 < value.lanes <= 8 and node.attr >= 32:
            return self._repeated(node)
        inner = self.tree(node.args[0])
        if isinstance(inner, Splat) and (node.op == "tile" or inner.period == 1):
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

    def _repeated(self, node: Expr) -> Tree:
        """Few bytes, each as often."""
        few, times = self._single(node.args[0]), int(node.attr)
        if few is None or node.type.lanes % VECTOR:
            raise SelectError(
                "lanes: bytes that are repeated must be loaded, but got "
                f"{node.type} of {node.args[0].type}"
            )
        each = max(VECTOR // times, 1)  # bytes of a register
        return halved("concat", [
            _spread(few[start : start + each], min(times, VECTOR))
            for start in range(0, len(few), each)
            for _ in range(max(times // VECTOR, 1))
        ])  # fmt: skip

    def _single(self, node: Expr) -> list[Expr] | None:
        """The lanes of a loaded value, one by one."""
        if node.op == "load":
            return [self.fetch(node, at, node.type.element) for at in range(node.type.lanes)]
        if node.op == "concat" and all(e.op == "load" and e.type.lanes == 1 for e in node.args):
            return [self._scalar(e) for e in node.args]
        return None

    def _in_turns(self, node: Expr) -> Tree:
        """A few loaded elements again and again: a broadcast of each, whose lanes alternate."""
        load, count = node.args[0], int(node.attr)
        kind, size = load.type.element, load.type.bytes
        lanes = [self.fetch(load, at * size, kind) for at in range(load.type.lanes)]
        return interleaved_parts([Splat(lane, vector(kind, count)) for lane in lanes])

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

    def _looked_up(self, node: Expr) -> Tree:
        table, index = node.args
        bytewise = table.type.bits == index.type.bits == 8 and table.type.lanes == 256
        if table.op != "load" or not bytewise:
            raise SelectError(
                "lookup: a table in memory holds 256 bytes and is indexed by bytes, but got "
                f"{table.type} by {index.type}"
            )
        return map_trees(lambda x: self._table(table, x), [self.tree(index)], node.type)

    def _table(self, table: Expr, index: Expr) -> Expr:
        """A 256-entry byte table, by eight masked look-ups of 32 entries in two registers."""
        if index.type.lanes == 1:
            return self._scalar(_entry(table, index))
        kind = vector(table.type, VECTOR)
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


def _few_words(node: Expr) -> bool:
    """Whether a load takes more than a scalar's bytes, but less than a register's."""
    return node.op == "load" and 4 < size_of(node.type) <= 16 and node.type.bytes == 4


def _entry(table: Expr, index: Expr) -> Expr:
    """One entry of a table in memory; an index of a signed byte counts from the end."""
    if table.op != "load":
        raise SelectError(f"lookup: a table must be in memory, but got {table.op}")
    where = cast(i32, index)
    if index.type.signed:
        where = where & (table.type.lanes - 1)
    return Expr("load", table.type.element, (table.args[0] + where,), table.attr)


def _shuffled(half: Expr) -> Expr:
    """The order in which the look-up reads a table register: its two halves interleaved."""
    lanes = half.type.lanes // 2
    return make(
        "interleave", make("slice", half, attr=(0, lanes)), make("slice", half, attr=(lanes, lanes))
    )


def _spread(few: list[Expr], times: int) -> Expr:
    """A register of bytes, ``times`` each: splats, chosen by predicates of the first lanes."""
    mask, total = vector(boolean, VECTOR), make("tile", few[-1], attr=VECTOR)
    for place in reversed(range(len(few) - 1)):
        first = Expr("call", mask, (const((place + 1) * times, i32),), "pred_scalar2")
        total = make("select", first, make("tile", few[place], attr=VECTOR), total)
    return total


def _halves_of_pairs(leaves: tuple[Expr, ...]) -> bool:
    """Whether all are the same half of pairs: then the pairs are added, which may accumulate."""
    return all(
        leaf.op == "slice"
        and leaf.attr == leaves[0].attr
        and size_of(leaf.args[0].type) == 2 * VECTOR
        for leaf in leaves
    )
