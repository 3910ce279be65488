"""The terms of a reduction as one expression.

    expand("max", "kw")      for kw in range(3): m[i] = max(m[i], x[i + kw])       init m[i] = 0
    becomes                  m[i] = max(max(x[i], x[i + 1]), x[i + 2])

Where loops are left, each of their steps takes in several terms. Narrow terms of a sum are added in
a type of twice their bits as long as it holds the sum: 257 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce as fold
from math import prod

from ..tir.expr import Expr, cast, const, make, transform
from ..tir.stmt import Block, Store, load
from ..tir.types import i32
from .block_forms import Reduction, extents_of
from .boxes import runs_whole
from .errors import refusal
from .new_nests import replacing
from .reduction_primitives import begun, factored, neutral, without
from .state import BlockName, Loop, ScheduleState
from .tree import blocks_below, loop_at

NARROW = (8, 16)  # bits of terms that are added in pairs
MOST = 256  # terms of one expression


def expand(state: ScheduleState, block: BlockName, *loops: Loop) -> None:
    """Writes the steps of reduction loops, outermost first, as terms of one expression; where
    no other loop reduces, the block becomes a map."""
    node, _ = state.block(block)
    found = begun(node)
    if node.name in state.partial or not runs_whole(node, state):
        raise refusal("the block's loops must run each value of each iter once",
                      f"{node.name}, whose loops do not", node)  # fmt: skip
    count = prod(loop_at(state.loop(loop)).extent for loop in loops)
    if count > MOST:
        raise refusal(f"an expression must have at most {MOST} terms", str(count), node,
                      "Split the loops.")  # fmt: skip
    groups = [found.value]
    for loop in reversed(loops):
        terms = _terms(state, node.name, loop, groups)
        node, _ = state.block(node.name)
        flat = [term for step in terms for term in step]
        groups = flat if found.op == "add" else [_joined(found, step) for step in terms]
    value = _summed(found, groups) if found.op == "add" else _joined(found, groups)
    _, path = state.block(node.name)
    state.swap(path, _storing(node, found, value))


def _terms(state: ScheduleState, block: str, loop: Loop, groups: list[Expr]) -> list[list[Expr]]:
    """For each step of ``loop``, which is no more, what ``groups`` are in it."""
    node, _ = state.block(block)
    path = state.loop(loop)
    at = loop_at(path)
    below = [b.name for b in blocks_below(at)]
    if below != [block]:
        raise refusal("the loop must hold the block alone", ", ".join(below), at)
    split = factored(state, node, at)
    iters, rest = without(node, split)
    extents = extents_of(iters)
    terms: list[list[Expr]] = []
    for step in range(at.extent):
        value = const(step * split[1], i32) if rest is None else rest + step * split[1]
        change = replacing({split[0].axis: value}, extents)
        terms.append([transform(group, change) for group in groups])
    state.swap(path, at.body)
    _, inside = state.block(block)
    state.swap(inside, replace(node, iters=tuple(iters)))
    return terms


def _joined(found: Reduction, terms: Sequence[Expr]) -> Expr:
    return fold(lambda a, b: make(found.op, a, b), terms)


def _summed(found: Reduction, terms: Sequence[Expr]) -> Expr:
    """The sum of terms, narrow ones added in pairs, as many at once as their type holds."""
    narrow = [term.args[0] for term in terms if term.op == "cast"]
    kinds = {(term.type.kind, term.type.bits) for term in narrow}
    if len(narrow) < len(terms) or len(kinds) > 1 or narrow[0].type.bits not in NARROW:
        return _joined(found, terms)
    kind = make("widening_add", narrow[0], narrow[0]).type
    if kind.bits >= terms[0].type.bits or not narrow[0].type.is_int:
        return _joined(found, terms)
    most = kind.high // narrow[0].type.high
    parts = [_in_pairs(narrow[at : at + most]) for at in range(0, len(narrow), most)]
    return _joined(found, [cast(terms[0].type, part) for part in parts])


def _in_pairs(terms: Sequence[Expr]) -> Expr:
    pairs = [make("widening_add", a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
    if len(terms) % 2:
        kind = make("widening_add", terms[-1], terms[-1]).type
        pairs.append(cast(kind, terms[-1]))
    return fold(lambda a, b: a + b, pairs)


def _storing(block: Block, found: Reduction, value: Expr) -> Block:
    """The block that takes ``value`` in: a map, where no reduction is left."""
    if any(it.reduce for it in block.iters):
        total = make(found.op, load(found.buffer, *found.index), value)
        return replace(block, body=Store(found.buffer, found.index, total))
    first = found.init
    assert first is not None
    if not (first.is_const and first.attr == neutral(found.op, found.buffer.type)):
        value = make(found.op, value, first)
    return replace(block, init=None, body=Store(found.buffer, found.index, value))
