"""Bytes that change places: the whole registers that hold the leaves of lane operators.

concat(x[0:32], x[64:96])      x[0:128], where its leaves begin at bytes 0 and 64
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ..tir.expr import Expr
from ..tir.linear import Linear, from_linear, linear
from ..tir.types import vector
from .match_rows import moves_lanes

Sources = tuple[list[Expr], dict[Expr, int]]  # whole registers, and where leaves begin in them
Span = tuple[int, int]  # the first byte and the one behind the last


def sources(node: Expr, size: int) -> Iterator[Sources]:
    """Whole registers of ``size`` bytes that hold all leaves: of loads those side by side, the
    aligned registers around them, all that lies between them, or a register from each one's first
    byte on."""
    alone: list[Expr] = []
    groups: dict[object, list[Expr]] = {}
    for leaf in leaves(node):
        if leaf.op == "load":
            key = leaf.attr, frozenset(linear(leaf.args[0]).terms.items())
            groups.setdefault(key, []).append(leaf)
        else:
            alone.append(leaf)
    if any(leaf.type.lanes % size for leaf in alone):
        return
    for spans_of in (_side_by_side, _around, _between, _apart):
        found = [spans_of(sorted(group, key=_start), size) for group in groups.values()]
        if all(spans is not None for spans in found):
            spans = [s for s in found if s is not None]
            yield _whole(node, alone, list(groups.values()), spans)
            if any(map(is_splat, alone)):
                yield _whole(node, alone, list(groups.values()), spans, last=True)


def _whole(node: Expr, alone: list[Expr], groups: list[list[Expr]], spans: list[list[Span]],
           last: bool = False) -> Sources:  # fmt: skip
    """The registers one after another, those that are no loads first, or ``last``; a splat has one
    for each time that it comes."""
    wholes, places, total = list[Expr](), dict[Expr, int](), 0

    def others() -> int:
        at = total
        for leaf in alone:
            times = _times(node, leaf) if is_splat(leaf) else 1
            wholes.extend([leaf] * times)
            places[leaf] = at
            at += times * leaf.type.lanes
        return at

    total = total if last else others()
    for members, found in zip(groups, spans, strict=True):
        form, load = linear(members[0].args[0]), members[0]
        for start, end in found:
            index = from_linear(Linear(form.terms, start))
            wholes.append(Expr("load", vector(load.type, end - start), (index,), load.attr))
            for leaf in members:
                if start <= _start(leaf) and _end(leaf) <= end:
                    places[leaf] = total + _start(leaf) - start
            total += end - start
    if last:
        others()
    return wholes, places


def is_splat(leaf: Expr) -> bool:
    """Whether all lanes of a leaf are one number."""
    return leaf.op == "tile" and leaf.args[0].type.lanes == 1


def _times(node: Expr, leaf: Expr) -> int:
    """How often a leaf comes in what moves lanes."""
    if node is leaf:
        return 1
    return sum(_times(arg, leaf) for arg in node.args) if moves_lanes(node) else 0


def _side_by_side(loads: list[Expr], size: int) -> list[Span] | None:
    """Loads that follow each other in a buffer, where these are whole registers."""
    runs = [(_start(run[0]), _end(run[-1])) for run in _runs(loads)]
    return runs if all((end - start) % size == 0 for start, end in runs) else None


def _around(loads: list[Expr], size: int) -> list[Span] | None:
    """The aligned registers around loads; None where these may end outside of the buffer."""
    steps = linear(loads[0].args[0]).terms.values()
    if loads[0].attr.size % size or any(step % size for step in steps):
        return None
    spans: list[Span] = []
    for run in _runs(loads):
        low, high = _start(run[0]) // size * size, -(-_end(run[-1]) // size) * size
        if spans and spans[-1][1] >= low:
            first, last = spans.pop()
            low, high = first, max(last, high)
        spans.append((low, high))
    return spans


def _between(loads: list[Expr], size: int) -> list[Span] | None:
    """All from the first load to the last."""
    first, last = _start(loads[0]), max(map(_end, loads))
    return [(first, first + -(-(last - first) // size) * size)]


def _apart(loads: list[Expr], size: int) -> list[Span] | None:
    """Registers from each load's first byte on."""
    return [(_start(load), _start(load) + -(-load.type.lanes // size) * size) for load in loads]


@lru_cache(maxsize=1 << 8)
def leaves(node: Expr) -> tuple[Expr, ...]:
    """The operands below the lane operators, in order."""
    if not moves_lanes(node):
        return (node,)
    return tuple(dict.fromkeys(leaf for arg in node.args for leaf in leaves(arg)))


def whole_of(load: Expr, size: int) -> Expr:
    """The register of ``size`` bytes that begins where a load does."""
    return Expr("load", vector(load.type, size), load.args, load.attr)


def _start(load: Expr) -> int:
    return linear(load.args[0]).constant


def _end(load: Expr) -> int:
    return _start(load) + load.type.lanes


def _runs(loads: list[Expr]) -> list[list[Expr]]:
    """Loads of one buffer that lie side by side, in order."""
    runs: list[list[Expr]] = []
    for load in sorted(loads, key=lambda leaf: (_start(leaf), leaf.number)):
        if runs and _start(load) == _end(runs[-1][-1]):
            runs[-1].append(load)
        else:
            runs.append([load])
    return runs
