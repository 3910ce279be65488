"""Sums of neighbouring lanes: dot-product leaves, then registers, then pairs of lanes.

group_sum(cast(i32, x) * cast(i32, w), 4)     a leaf for each register of x and w in order
group_sum(interleave(a, b), 2)                a + b
"""

from __future__ import annotations

from collections.abc import Callable

from ..tir.expr import Expr, cast, const, make
from ..tir.types import Type, vector
from .errors import SelectError
from .trees import Parts, Splat, Tree, Trees, lanes_of, register
from .widths import converted, doubled

TreeOf = Callable[[Expr], Tree]


def group_sum(node: Expr, tree_of: TreeOf, trees: Trees) -> Tree:
    """A sum of products of register-size operands stays whole: one dot-product leaf a part.
    Neighbouring lanes must then be neighbours in registers, so operands come in order."""
    inner, n = node.args[0], int(node.attr)
    if inner.op == "shl" and _narrow(inner):
        total = make("group_sum", inner.args[0], attr=n)
        return tree_of(total << const(inner.args[1].attr, total.type))
    terms = _narrow_terms(inner)
    if terms is not None:
        sums = [tree_of(make("group_sum", term, attr=n)) for term in terms]
        return trees.mapped(lambda *x: make(inner.op, *x), sums, node.type)
    sources = _factors(inner)
    if sources is None and inner.type.bits < 32:
        raise SelectError("lanes: a grouped sum must be of products of narrow operands")
    if sources is None:
        return _reduced(tree_of(inner), n, trees)
    a, b = map(tree_of, sources)
    few = inner.type.bits // sources[0].type.bits  # lanes that one row sums
    words = isinstance(b, Splat) and b.period > 1  # as scalars that hold several lanes
    if n % few == 0 and (few == 4 or inner.type.bits == 16 or words):

        def leaf(*registers: Expr) -> Expr:
            wide = vector(inner.type, registers[0].type.lanes)
            a, b = (Expr("cast", wide, (register,)) for register in registers)
            return make("group_sum", a * b, attr=few)

        whole = trees.joined([*trees.map_registers(leaf, [a, b])])
        return _reduced(whole, n // few, trees)
    lone = inner.op == "cast" and inner.args[0] is sources[0]
    products = tree_of(inner) if lone else _products(sources, inner.type, tree_of, trees)
    return _reduced(products, n, trees)


def _narrow_terms(inner: Expr) -> tuple[Expr, ...] | None:
    """The operands of a sum of narrow lanes, some of them shifted: each is summed by itself."""
    return inner.args if inner.op == "add" and all(map(_narrow, inner.args)) else None


def _narrow(term: Expr) -> bool:
    if term.op == "shl" and term.args[1].is_const:
        return _narrow(term.args[0])
    return term.op == "cast" and term.args[0].type.bits == 8


def _products(sources: tuple[Expr, Expr], kind: Type, tree_of: TreeOf, trees: Trees) -> Tree:
    """Products of the lanes of both, in pairs of registers, as ``kind``."""
    a, b = _alike(*sources)
    double = make("widening_mul", a, b)
    factors = [tree_of(a), tree_of(b)]
    tree = trees.mapped(lambda *x: doubled("widening_mul", x), factors, a.type)
    return tree if double.type == kind else converted(Expr("cast", kind, (double,)), tree, trees)


def _reduced(tree: Tree, n: int, trees: Trees) -> Tree:
    """Each ``n`` neighbouring lanes summed: lanes that alternate between parts first, then whole
    registers, then pairs of lanes."""
    if n == 1:
        return tree
    if isinstance(tree, Parts) and tree.kind == "interleave":
        ways = len(tree.parts)
        if n % ways == 0:
            return _reduced(_summed(list(tree.parts), trees), n // ways, trees)
        if ways % n == 0:
            sums = [_summed(list(tree.parts[i : i + n]), trees) for i in range(0, ways, n)]
            return trees.interleaved(sums)
    registers = trees.registers(tree)
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
        pairs = zip(registers[::2], registers[1::2], strict=True)
        halves = [trees.dealt(Parts("concat", pair), 2) for pair in pairs]
        registers = [register(even) + register(odd) for even, odd in halves]
        n //= 2
    return trees.joined(list(registers))


def _summed(parts: list[Tree], trees: Trees) -> Tree:
    """The sum of trees, lane by lane."""
    kind = _lane_type(parts[0])
    total = parts[0]
    for tree in parts[1:]:
        total = trees.mapped(lambda a, b: a + b, [total, tree], vector(kind, lanes_of(tree)))
    return total


def _lane_type(tree: Tree) -> Type:
    return _lane_type(tree.parts[0]) if isinstance(tree, Parts) else tree.type.element


def _total(terms: list[Expr]) -> Expr:
    """The sum as a chain, so that later terms accumulate."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _factors(node: Expr) -> tuple[Expr, Expr] | None:
    """The two narrow operands whose wide product ``node`` is, the wider one first; a lone operand
    is times one."""
    if node.op == "mul":
        a, b = map(_uncast, node.args)
        if a is None or b is None:
            return None
        return (a, b) if a.type.bits >= b.type.bits else (b, a)
    source = _uncast(node)
    if source is not None and source.op == "widening_mul":
        return source.args[0], source.args[1]
    return None if source is None else (source, const(1, vector(Type("u", 8), node.type.lanes)))


def _alike(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Both operands in the width of the first, which is the wider one."""
    if a.type.bits == b.type.bits:
        return a, b
    if b.is_const:
        return a, const(b.attr, Type("i", a.type.bits, b.type.lanes))
    return a, cast(Type(b.type.kind, a.type.bits), b)


def _uncast(node: Expr) -> Expr | None:
    """The source of a widening cast; a constant counts as a byte."""
    if node.op == "cast" and node.args[0].type.bits < node.type.bits:
        return node.args[0]
    if node.op == "const" and 0 <= node.attr <= 255:
        return const(node.attr, vector(Type("u", 8), node.type.lanes))
    return None
