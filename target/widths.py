"""Lanes that become wider or narrower: halves of a pair hold the even and the odd ones.

sat_cast(i16, interleave(lo, hi))      interleave(sat_cast(i16, lo), sat_cast(i16, hi)), a register
sat_cast(u8, concat(a, b, c, d))       that of interleave(a, b, c, d), then bytes in order, where a
                                       narrowing takes in the shifts of a, b, c and d
cast(i16, x) of a register of bytes    interleave of the two halves of a pair
"""

from __future__ import annotations

from ..tir.expr import Expr, cast, make
from ..tir.types import Type, i16, u8, u16, vector
from .errors import SelectError
from .instruction import size_of
from .move_rows import Moves
from .shuffle import shuffled
from .trees import Parts, Splat, Tree, Trees, dealt_pair, has_interleaved, lanes_of, register

FOURTH = 4  # registers of words that narrow into one of bytes


def converted(node: Expr, tree: Tree, trees: Trees) -> Tree:
    """A cast: the same size register by register; wider and narrower by halves."""
    target, source = node.type, node.args[0].type
    if isinstance(tree, Splat) and tree.value.type.lanes == 1:
        return Splat(Expr(node.op, target.element, (tree.value,)), target)
    if node.op == "reinterpret" or target.bits == source.bits:
        return trees.mapped(
            lambda x: Expr(node.op, vector(target, x.type.lanes), (x,)), [tree], source
        )
    if target.bits < source.bits:
        return _narrowed(node, tree, trees)
    return _widened(tree, target, trees)


def _narrowed(node: Expr, tree: Tree, trees: Trees) -> Tree:
    target, source = node.type.element, node.args[0].type
    if source.bits == 4 * target.bits:
        if (turned := _by_turns(node, tree, trees)) is not None:
            return turned
        if node.op == "cast":
            half = cast(Type(target.kind, 16), node.args[0])
        else:
            half = Expr("sat_cast", vector(i16, source.lanes), node.args)
        outer = Expr(node.op, node.type, (half,))
        return _narrowed(outer, _narrowed(half, tree, trees), trees)
    if not isinstance(tree, Parts):
        raise SelectError(f"lanes: narrowing to {node.type} must fill a register")
    if all(isinstance(part, Expr) or isinstance(part, Splat) for part in tree.parts):
        leaves = [register(part) for part in tree.parts]
        if sum(leaf.type.lanes for leaf in leaves) * target.bytes == trees.bytes:
            narrow = (Expr(node.op, vector(target, e.type.lanes), (e,)) for e in leaves)
            return make(tree.kind, *narrow)
    return Parts(tree.kind, tuple(_narrowed_part(node, part, trees) for part in tree.parts))


def _by_turns(node: Expr, tree: Tree, trees: Trees) -> Tree | None:
    """Registers one after another narrowed as such whose lanes alternate, for shifts narrow these
    alone; the bytes of each register then change places. None where there are no shifts."""
    if not isinstance(tree, Parts) or tree.kind != "concat" or has_interleaved(tree):
        return None
    leaves, kind = trees.registers(tree), vector(node.type, trees.bytes)
    if len(leaves) % FOURTH or any(leaf.op != "rounding_shr" for leaf in leaves):
        return None
    found: list[Tree] = []
    for at in range(0, len(leaves), FOURTH):
        some = trees.interleaved([*leaves[at : at + FOURTH]])
        whole = register(_narrowed_part(Expr(node.op, kind, node.args), some, trees))
        moved = _in_order(whole, trees)
        if moved is None:
            return None
        found += moved
    return trees.joined(found)


def _in_order(whole: Expr, trees: Trees) -> list[Expr] | None:
    """A register of bytes of several registers in turns: those of each one together."""
    sizes = whole.type.lanes // FOURTH, FOURTH
    order = make("transpose", Expr("var", whole.type, (), "part"), attr=(sizes, (1, 0)))
    return shuffled(order, lambda _: [whole], trees.roles.shuffles)


def _narrowed_part(node: Expr, part: Tree, trees: Trees) -> Tree:
    lanes = lanes_of(part)
    stand_in = Expr("var", vector(node.args[0].type, lanes), (), "part")
    return converted(Expr(node.op, vector(node.type, lanes), (stand_in,)), part, trees)


def _widened(tree: Tree, target: Type, trees: Trees) -> Tree:
    if isinstance(tree, Parts):
        inner = vector(target, target.lanes // len(tree.parts))
        return Parts(tree.kind, tuple(_widened(part, inner, trees) for part in tree.parts))
    leaves = trees.registers(tree)
    if len(leaves) > 1:
        inner = vector(target, target.lanes // len(leaves))
        return trees.joined([_widened(leaf, inner, trees) for leaf in leaves])
    (leaf,) = leaves
    if size_of(leaf.type) != trees.bytes:
        raise SelectError(f"lanes: widening to {target} must take whole registers")
    middle = Type(target.kind if leaf.type.signed else "u", leaf.type.bits * 2, leaf.type.lanes)
    if leaf.type.signed:
        middle = Type("i", leaf.type.bits * 2, leaf.type.lanes)
    if middle.bits == target.bits:
        middle = Type(target.kind, target.bits, leaf.type.lanes)
    halves = dealt_pair(Expr("cast", middle, (leaf,)))
    if middle.bits == target.bits:
        return Parts("interleave", tuple(halves))
    inner = vector(target, leaf.type.lanes // 2)
    return Parts("interleave", tuple(_widened(half, inner, trees) for half in halves))


def joined_bytes(node: Expr) -> tuple[Expr, Expr] | None:
    """The low and the high bytes of ``cast(u16, low) + (cast(u16, high) << 8)``."""
    if node.op != "add" or node.type.bits != 16 or node.args[1].op != "shl":
        return None
    low, (high, by) = node.args[0], node.args[1].args
    bytes_ = [part.args[0] for part in (low, high) if part.op == "cast"]
    if len(bytes_) < 2 or not by.is_const or by.attr != 8:
        return None
    return (bytes_[0], bytes_[1]) if all(b.type.element == u8 for b in bytes_) else None


def paired_bytes(low: Expr, high: Expr, exchange: Moves) -> Tree:
    """Even and odd halfwords of two registers of bytes: both are interleaved within pairs, for
    which digit 0 is exchanged with the one that tells the registers apart."""
    kind = vector(u16, low.type.lanes)
    if kind.lanes == 1:
        return cast(u16, low) + (cast(u16, high) << 8)
    pair = exchange.call(vector(u8, 2 * kind.lanes), high, low)
    halves = [make("slice", pair, attr=(at, kind.lanes)) for at in (0, kind.lanes)]
    half = vector(u16, kind.lanes // 2)
    return Parts("interleave", tuple(Expr("reinterpret", half, (part,)) for part in halves))


def doubled(op: str, leaves: tuple[Expr, ...]) -> Tree:
    """A widening operator on registers: even and odd lanes, as halves of one pair."""
    wide = make(op, *leaves)
    return wide if wide.type.lanes == 1 else Parts("interleave", tuple(dealt_pair(wide)))
