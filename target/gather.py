"""Vectors gathered from memory: pieces of less than a register that lie at one distance.

concat(x[0:64], x[128:192])         two registers dealt by pieces of 64 bytes: the even ones
concat(x[0:32], x[96:128], ...)     a register a piece, loaded so that each piece is at its place
concat(x[0:64], x[0:64])            or turned there

A piece is loaded from its own address less its place in the result, which is not before the first
piece, because pieces lie at least as far apart as they are long.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from ..tir.expr import Expr, const, make
from ..tir.linear import Linear, from_linear, linear
from ..tir.types import Type, boolean, i32, vector
from .move_rows import Moves
from .roles import Roles, turn

Fetch = Callable[[Expr, int, Type], Expr]


def gathered(node: Expr, fetch: Fetch, roles: Roles) -> Expr | None:
    """A ``concat`` of loads as one register; None where they do not make one."""
    loads = node.args
    first = loads[0]
    if any(e.op != "load" or e.attr != first.attr or e.type != first.type for e in loads):
        return None
    size = first.type.lanes * first.type.bytes
    deal, few = roles.deals.get(size), 4 * size >= roles.bytes
    if node.type.lanes * node.type.bytes != roles.bytes or not (deal or few):
        return None
    forms = [linear(e.args[0]) for e in loads]
    steps = {_distance(a, b) for a, b in pairwise(forms)}
    step = steps.pop() if len(steps) == 1 else None
    if deal and step == 2 * first.type.lanes:
        return _dealt(first, forms[0], deal, node.type, fetch)
    if len(loads) > 4:
        return None
    apart = step is not None and step >= first.type.lanes
    return _placed(first, forms, node.type, fetch, apart, roles)


def can_fill(size: int, roles: Roles) -> bool:
    """Whether a register can be filled with a piece of so many bytes, more than a scalar's."""
    places = range(size.bit_length() - 1, roles.shuffles.digits)
    between = 4 < size < roles.bytes and size == 1 << places.start
    return between and all(map(roles.shuffles.exchange, places))


def filled(load: Expr, fetch: Fetch, roles: Roles) -> Expr:
    """A register that holds a piece of 8 bytes or more in all its places: the even pieces of the
    register that begins with it are put in the place of the odd ones, twice as long each time."""
    size = load.type.lanes * load.type.bytes
    kind = vector(load.type, roles.bytes // load.type.bytes)
    whole = fetch(Expr("load", kind, load.args, load.attr), 0, kind)
    while size < roles.bytes:
        exchange = roles.shuffles.exchange(size.bit_length() - 1)
        assert exchange is not None, "can_fill says so"
        both = exchange.call(vector(kind, 2 * kind.lanes), whole, whole)
        whole, size = make("slice", both, attr=(0, kind.lanes)), size * 2
    return whole


def _distance(a: Linear, b: Linear) -> int | None:
    return b.constant - a.constant if a.terms == b.terms else None


def _dealt(first: Expr, form: Linear, deal: Moves, kind: Type, fetch: Fetch) -> Expr:
    """The even pieces of two registers; the odd ones where the first piece is an odd one."""
    part = form.constant // first.type.lanes % 2
    if form.constant % first.type.lanes:
        part = 0
    start = form.shifted(-part * first.type.lanes)
    whole = Expr("load", vector(first.type, 2 * kind.lanes), (from_linear(start),), first.attr)
    low, high = (fetch(whole, at, kind) for at in (0, kind.lanes * kind.bytes))
    dealt = deal.call(vector(kind, 2 * kind.lanes), high, low)
    return make("slice", dealt, attr=(part * kind.lanes, kind.lanes))


def _placed(first: Expr, forms: list[Linear], kind: Type, fetch: Fetch, apart: bool,
            roles: Roles) -> Expr | None:  # fmt: skip
    """Each piece loaded to its place, or turned there where pieces are not ``apart`` in memory, and
    chosen by a predicate of the bytes before it."""
    total: Expr | None = None
    for place, form in enumerate(forms):
        lanes = place * first.type.lanes
        start = from_linear(form.shifted(-lanes if apart else 0))
        piece: Expr | None = fetch(Expr("load", kind, (start,), first.attr), 0, kind)
        if piece is not None and place and not apart:
            by = const(roles.bytes - lanes * kind.bytes, i32)
            piece = roles.call(turn, kind, piece, by)
        if total is None:
            total = piece
            continue
        before = roles.first_lanes(lanes, vector(boolean, kind.lanes))
        if before is None or piece is None:
            return None
        total = make("select", before, total, piece)
    return total
