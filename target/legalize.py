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
from functools import partial

from ..tir.bounds import bounds
from ..tir.expr import Expr, cast, const, make
from ..tir.ops import OPS
from ..tir.type_rules import wider, wider_signed
from ..tir.types import Type, i16, i32, vector
from .byte_sums import ByteSums
from .errors import SelectError
from .gather import can_fill, filled, gathered
from .instruction import size_of
from .masks import known_lanes, predicates
from .roles import Roles, behind, turn, weighted_pairs
from .scaled_sums import in_halfwords, wide_product, widened_product
from .shuffle import by_ends, is_shuffle, shuffled
from .sums import group_sum
from .trees import Parts, Splat, Tree, Trees, halves_of_pairs, has_interleaved, plus
from .widths import converted, doubled, joined_bytes, paired_bytes

CAST_OPS = ("cast", "sat_cast", "reinterpret")
MOST_RUNS = 8  # scalars that share a value
PIECE = 8  # words of a register, at least, that are repeated from it
WIDENING = {op.name for op in OPS.values() if op.rule in (wider, wider_signed)}


Fetch = Callable[[Expr, int, Type], Expr]  # (load, byte offset in it, type) -> register-size load


class Legalizer:
    """Turns expressions into trees; ``fetch`` makes the loads (registers, memory versions), and
    ``expand`` writes a leaf in steps that selection can combine with what follows."""

    def __init__(self, roles: Roles, fetch: Fetch, expand: Callable[[Expr], Expr | None]) -> None:
        self.roles, self.fetch, self.expand = roles, fetch, expand
        self.trees, self.bytes = Trees(roles), roles.bytes
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
        if node.op == "fetch":  # a part of a value that is legal already
            return node
        if node.op == "concat":
            found = gathered(node, self.fetch, self.roles) or self._known(node)
            if found is not None:
                return found
        if node.op == "concat" and (turned := self._turned(node)) is not None:
            return turned
        if (moved := self._shuffled(node)) is not None:
            return moved
        if node.op == "transpose":
            return self.tree(by_ends(node))
        if node.op == "concat":
            return self.trees.joined([self.tree(arg) for arg in node.args])
        if node.op == "interleave":
            return self.trees.interleaved([self.tree(arg) for arg in node.args])
        if node.op == "slice":
            return self.trees.sliced(self.tree(node.args[0]), *node.attr)
        if node.op == "deinterleave":
            return self.trees.alternate(self.tree(node.args[0]), *node.attr)
        if node.op == "group_sum":
            return group_sum(node, self.tree, self.trees)
        if node.op == "lookup":
            return self._looked_up(node)
        if (product := self._by_halfwords(node)) is not None:
            return self.tree(product)
        if node.op in CAST_OPS:
            return self._converted(_narrowing(node))
        if (planes := joined_bytes(node)) and (exchange := self.roles.shuffles.exchange(0)):
            pairing = partial(paired_bytes, exchange=exchange)
            return self.trees.mapped(pairing, [*map(self.tree, planes)], planes[0].type)
        if (total := ByteSums(self.roles, self.trees, self.tree).tree(node)) is not None:
            return total
        if node.op in WIDENING:
            narrow = vector(node.args[0].type, kind.lanes)
            return self.trees.mapped(
                lambda *x: doubled(node.op, x), [*map(self.tree, node.args)], narrow
            )
        if node.op == "select":
            return self._chosen(node)
        trees = [self.tree(arg) for arg in node.args]
        return self.trees.mapped(lambda *leaves: self._apply(node, leaves), trees, kind)

    def _by_halfwords(self, node: Expr) -> Expr | None:
        """Sums and products of halfwords instead of those of words, where rows make them."""
        if node.type.lanes % self.bytes or not self.roles.fills(weighted_pairs):
            return None
        return in_halfwords(node) or widened_product(node) or wide_product(node)

    def _converted(self, node: Expr) -> Tree:
        return converted(node, self.tree(node.args[0]), self.trees)

    def _known(self, node: Expr) -> Tree | None:
        """A known condition of one register."""
        holds = known_lanes(node)
        return None if holds is None else predicates(holds, node.type.lanes, self.trees)

    def _chosen(self, node: Expr) -> Tree:
        """A choice; where a known condition decides a register, it is left out."""
        holds = known_lanes(node.args[0])
        lanes = self.bytes // node.type.bytes
        mask = predicates(holds, lanes, self.trees) if holds and len(holds) > lanes else None
        trees = [mask or self.tree(node.args[0]), *map(self.tree, node.args[1:])]

        def choose(condition: Expr, yes: Expr, no: Expr) -> Expr:
            if condition.is_const:
                return yes if condition.attr else no
            return self._apply(node, (condition, yes, no))

        if mask is not None and not _decided(mask) and any(map(has_interleaved, trees)):
            return self.trees.joined(list(self.trees.map_registers(choose, trees)))
        return self.trees.mapped(choose, trees, node.type)

    def _apply(self, node: Expr, leaves: tuple[Expr, ...]) -> Expr:
        if node.op == "add" and halves_of_pairs(leaves):
            return plus(*leaves)
        if self._halves_of_deals(leaves) and leaves[0].type == node.type:
            return self._dealt(node, leaves)
        leaf: Expr | None = make(node.op, *leaves, attr=node.attr)
        while leaf is not None:
            last, leaf = leaf, self.expand(leaf) if leaf.type.lanes > 1 else None
        return last

    def _halves_of_deals(self, leaves: tuple[Expr, ...]) -> bool:
        """Whether all are the same half of pairs of registers that are dealt by the same pieces."""
        if any(leaf.op != "slice" or leaf.args[0].op != "call" for leaf in leaves):
            return False
        calls = [leaf.args[0] for leaf in leaves]
        kinds = {
            (leaf.attr, leaf.type, c.attr, c.args[2:])
            for leaf, c in zip(leaves, calls, strict=True)
        }
        rows = (deal.call.row.name for deal in self.roles.deals.values())
        return len(leaves) > 1 and len(kinds) == 1 and calls[0].attr in rows

    def _dealt(self, node: Expr, leaves: tuple[Expr, ...]) -> Expr:
        """An operator of registers that are dealt alike: they are dealt once, after it."""
        calls = [leaf.args[0] for leaf in leaves]
        registers = zip(*(call.args[:2] for call in calls), strict=True)
        whole = (*(self._apply(node, parts) for parts in registers), calls[0].args[2])
        dealt = Expr("call", calls[0].type, whole, calls[0].attr)
        return make("slice", dealt, attr=leaves[0].attr)

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
        return None if has_interleaved(tree) else self.trees.registers(tree)

    def _shuffled(self, node: Expr) -> Tree | None:
        """Bytes that change places by digits."""
        if not is_shuffle(node, self.bytes):
            return None
        moved = shuffled(node, self._whole, self.roles.shuffles)
        return None if moved is None else self.trees.joined(list(moved))

    def _turned(self, node: Expr) -> Tree | None:
        """The last bytes of a value, and then all before them."""
        by = turned_by(node, self.bytes)
        whole = self._whole(node.args[0].args[0]) if by else None
        if whole is None:
            return None
        many, few = divmod(by, self.bytes)
        whole = [*whole[-many:], *whole[:-many]] if many else whole
        return self.trees.joined([*whole]) if not few else self._turned_registers(whole, few)

    def _turned_registers(self, whole: list[Expr], by: int) -> Tree | None:
        """The last few bytes of the last register, and then all before them."""
        kind = whole[0].type
        if len(whole) == 1:
            return self.roles.call(turn, kind, whole[0], const(self.bytes - by, i32))
        pairs = zip(whole, [whole[-1], *whole[:-1]], strict=True)
        turned = [self.roles.call(behind, kind, *pair, const(by, i32)) for pair in pairs]
        found = [each for each in turned if each is not None]
        return self.trees.joined([*found]) if len(found) == len(whole) else None

    def _broadcast(self, node: Expr) -> Tree:
        if node.op == "tile" and _few_words(node.args[0], self.bytes):
            return self._in_turns(node)
        value = node.args[0].type
        pair = value.bits == 8 and value.lanes == 2
        fills = pair or can_fill(size_of(value), self.roles)
        whole_registers = size_of(node.type) % self.bytes == 0
        if node.op == "tile" and node.args[0].op == "load" and fills and whole_registers:
            whole = (
                self._halfwords(node.args[0])
                if pair
                else filled(node.args[0], self.fetch, self.roles)
            )
            return self.trees.joined([whole] * (size_of(node.type) // self.bytes))
        if node.op == "repeat" and _piece(node.args[0], self.bytes):
            return self._first_runs(node)
        few = 1 < value.lanes <= MOST_RUNS and size_of(value) < self.bytes
        runs = self._runs(node) if node.op == "repeat" and few else None
        if runs is not None:
            return runs
        inner = self.tree(node.args[0])
        if isinstance(inner, Splat) and (node.op == "tile" or inner.period == 1):
            return inner.resized(node.type.lanes)
        if (
            isinstance(inner, Expr)
            and size_of(value) <= 4
            and (node.op == "tile" or value.lanes == 1)
        ):
            return Splat(inner, node.type)
        if node.op == "tile" and size_of(value) % self.bytes == 0:
            return self.trees.joined([inner] * node.attr)
        if node.op == "repeat" and size_of(value) % self.bytes == 0:
            return self.trees.repeated(inner, node.attr)
        times = int(node.attr) if node.op == "repeat" else 1
        beside = make("interleave", *(node.args[0],) * times) if times > 1 else node
        if (moved := self._shuffled(beside)) is not None:
            return moved
        raise SelectError(
            f"lanes: a broadcast repeats a scalar or registers, but got {node.type} of {value}"
        )

    def _halfwords(self, load: Expr) -> Expr:
        """A register that holds two bytes in all its halfwords."""
        each = make("tile", self.fetch(load, 0, i16), attr=self.bytes // 2)
        return Expr("reinterpret", vector(load.type, self.bytes), (each,))

    def _first_runs(self, node: Expr) -> Tree:
        """A piece of a register, each lane several times: those of the register that begins there,
        of which the first ones are wanted; converted after that."""
        value = node.args[0]
        if value.op in CAST_OPS:
            wide = make("repeat", value.args[0], attr=node.attr)
            return self.tree(Expr(value.op, node.type, (wide,), value.attr))
        lanes = self.bytes // node.type.bytes
        if node.type.lanes % lanes:
            raise SelectError(f"lanes: repeated lanes must fill registers, but got {node.type}")
        kind = vector(value.type, lanes)
        whole = self.fetch(Expr("load", kind, value.args, value.attr), 0, kind)
        runs = self.trees.registers(self.trees.repeated(whole, int(node.attr)))
        return self.trees.joined([*runs[: node.type.lanes // lanes]])

    def _runs(self, node: Expr) -> Tree | None:
        """A few scalars, each in several lanes side by side."""
        few, times = self._single(node.args[0]), int(node.attr)
        lanes = self.bytes // node.type.bytes
        if few is None or node.type.lanes % lanes or max(times, lanes) % min(times, lanes):
            return None
        if times < lanes < node.type.lanes and node.type.bits > 8:  # may be dealt before
            return Parts("concat", tuple(Splat(one, vector(node.type, times)) for one in few))
        run, each = vector(node.type, min(times, lanes)), max(lanes // times, 1)
        groups = [few[start : start + each] for start in range(0, len(few), each)]
        registers = [self.trees.joined([Splat(one, run) for one in group]) for group in groups]
        return self.trees.joined([one for one in registers for _ in range(max(times // lanes, 1))])

    def _single(self, node: Expr) -> list[Expr] | None:
        """The lanes of a loaded value, one by one."""
        if node.op == "load":
            return self._elements(node)
        if node.op == "concat" and all(e.op == "load" and e.type.lanes == 1 for e in node.args):
            return [self._scalar(e) for e in node.args]
        if node.op not in ("cast", "sat_cast"):
            return None
        inner = self._single(node.args[0])
        return inner and [Expr(node.op, node.type.element, (one,)) for one in inner]

    def _in_turns(self, node: Expr) -> Tree:
        """A few loaded elements again and again: a broadcast of each, whose lanes alternate."""
        each = vector(node.type, int(node.attr))
        return self.trees.interleaved([Splat(one, each) for one in self._elements(node.args[0])])

    def _elements(self, load: Expr) -> list[Expr]:
        kind = load.type.element
        return [self.fetch(load, at * kind.bytes, kind) for at in range(load.type.lanes)]

    def _load(self, node: Expr) -> Tree:
        total = size_of(node.type)
        if total in (1, 2, 4, 8, self.bytes):
            return self.fetch(node, 0, node.type)
        if total % self.bytes:
            raise SelectError(f"lanes: a load must fill vector registers, but got {node.type}")
        lanes = self.bytes // node.type.bytes
        leaves: list[Tree] = [
            self.fetch(node, start, vector(node.type, lanes))
            for start in range(0, total, self.bytes)
        ]
        return self.trees.joined(leaves)

    def _looked_up(self, node: Expr) -> Tree:
        table, index = node.args
        bytewise = table.type.bits == index.type.bits == 8 and table.type.lanes == 256
        if table.op != "load" or not bytewise:
            raise SelectError(
                "lookup: a table in memory holds 256 bytes and is indexed by bytes, but got "
                f"{table.type} by {index.type}"
            )
        return self.trees.mapped(lambda x: self._table(node, x), [self.tree(index)], node.type)

    def _table(self, node: Expr, index: Expr) -> Expr:
        """A byte table: one entry from memory, or a look-up in the registers that hold it."""
        table = node.args[0]
        if index.type.lanes == 1:
            return self._scalar(_entry(table, index))
        kind, size = vector(table.type, self.bytes), table.type.lanes
        parts = [self.fetch(table, start, kind) for start in range(0, size, self.bytes)]
        return self._apply(node, (make("concat", *parts), index))


def _narrowing(node: Expr) -> Expr:
    """A narrowing of a shift as shifts that narrow have it. They saturate, so what lies within the
    narrow type may, too; others do not round, so half a unit is added before, where that cannot
    wrap. Registers of a value no longer say what the whole lies in."""
    inner = node.args[0]
    if node.op != "cast" or inner.op not in ("shr", "rounding_shr"):
        return node
    if node.type.bits >= inner.type.bits:
        return node
    low, high = bounds(inner, {})
    if node.type.low <= low and high <= node.type.high:
        return Expr("sat_cast", node.type, node.args)
    value, count = inner.args
    if inner.op == "shr" or not count.is_const or not 0 < count.attr < inner.type.bits:
        return node
    half = 1 << int(count.attr) - 1
    if bounds(value, {})[1] + half > inner.type.high:
        return node
    return cast(node.type.element, (value + const(half, inner.type)) >> count)


def turned_by(node: Expr, size: int) -> int:
    """How many of its last bytes a value begins with, whose slices these parts of a ``concat`` are
    otherwise in order, registers of ``size`` bytes; 0 where they are no such slices."""
    first, count, each = node.args[0], node.type.lanes, node.args[0].type.lanes
    if node.type.bits != 8 or count % size or first.op != "slice":
        return 0
    by = count - first.attr[0]
    starts = [at % count for at in range(-by, count - by, each)]
    turned = all(e.op == "slice" and e.args == first.args and e.attr == (at, each)
                 for e, at in zip(node.args, starts, strict=True))  # fmt: skip
    return by if turned and first.args[0].type.lanes == count else 0


def _decided(mask: Tree) -> bool:
    """Whether a condition is the same for all lanes of each register."""
    if isinstance(mask, Parts):
        return all(map(_decided, mask.parts))
    return isinstance(mask, Splat) and mask.period == 1


def _few_words(node: Expr, size: int) -> bool:
    """Whether a load takes more than a scalar's bytes, but less than a register's."""
    few = 4 < size_of(node.type) <= 16 and size_of(node.type) < size
    return node.op == "load" and few and node.type.bytes == 4


def _entry(table: Expr, index: Expr) -> Expr:
    """One entry of a table in memory; an index of a signed byte counts from the end."""
    if table.op != "load":
        raise SelectError(f"lookup: a table must be in memory, but got {table.op}")
    where = cast(i32, index)
    if index.type.signed:
        where = where & (table.type.lanes - 1)
    return Expr("load", table.type.element, (table.args[0] + where,), table.attr)


def _piece(value: Expr, size: int) -> bool:
    """Whether a value is a part of a register of words from memory, converted or not."""
    while value.op in CAST_OPS:
        value = value.args[0]
    words = value.op == "load" and value.type.bits == 32
    return words and PIECE <= value.type.lanes < size // 4
