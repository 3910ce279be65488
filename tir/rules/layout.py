"""Lane order: permutations that cancel, and operators that move inside of them.

deinterleave(interleave(a, b), 0, 2)                       ->  a
interleave(a, b) + interleave(c, d)                        ->  interleave(a + c, b + d)
tile(x, 4) * tile(y, 4)                                    ->  tile(x * y, 4)
"""

from __future__ import annotations

from ..bounds import Ranges
from ..expr import Expr, make
from ..ops import with_lanes
from ..rewrite.rule import MOVES, Law
from ..row import Lanes
from ..types import vector

LANEWISE = with_lanes(Lanes.SAME)
JOINS = ("interleave", "concat")
COPIES = ("tile", "repeat")


def _with_lanes(node: Expr, args: tuple[Expr, ...]) -> Expr:
    return Expr(node.op, vector(node.type, args[0].type.lanes), args, node.attr)


def _uniform(node: Expr, lanes: int) -> Expr:
    """A constant of other lanes."""
    return Expr("const", vector(node.type, lanes), (), node.attr)


def spread_join(node: Expr, _: Ranges) -> Expr | None:
    """A lanewise operator on joined parts works part by part: one permutation fewer."""
    if node.op not in LANEWISE:
        return None
    joined = [arg for arg in node.args if arg.op in JOINS]
    if not joined or not all(arg in joined or arg.is_const for arg in node.args):
        return None
    lead = joined[0]
    shape = [part.type.lanes for part in lead.args]
    if any(a.op != lead.op or [p.type.lanes for p in a.args] != shape for a in joined):
        return None
    if len(joined) < 2:  # a single permutation only moves
        return None
    parts = [
        _with_lanes(node, tuple(
            _uniform(arg, lanes) if arg.is_const else arg.args[i] for arg in node.args))
        for i, lanes in enumerate(shape)
    ]  # fmt: skip
    return make(lead.op, *parts)


def spread_copy(node: Expr, _: Ranges) -> Expr | None:
    """A lanewise operator on copied lanes is computed once, then copied; casts stay at their
    users, which widen for nothing."""
    if node.op not in LANEWISE or node.op in ("cast", "sat_cast"):
        return None
    copied = [arg for arg in node.args if arg.op in COPIES]
    if not copied or not all(arg in copied or arg.is_const for arg in node.args):
        return None
    lead = copied[0]
    if any(a.op != lead.op or a.attr != lead.attr for a in copied):
        return None
    lanes = lead.args[0].type.lanes
    args = tuple(_uniform(arg, lanes) if arg.is_const else arg.args[0] for arg in node.args)
    return make(lead.op, _with_lanes(node, args), attr=lead.attr)


def cancel(node: Expr, _: Ranges) -> Expr | None:
    """Parts of what was just joined, and joins of all parts of one value."""
    match node.op:
        case "deinterleave":
            return _part(node)
        case "slice":
            return _sliced(node)
        case "interleave" | "concat":
            return _joined(node)
        case "tile" | "repeat":
            return _copied(node)
    return None


def _part(node: Expr) -> Expr | None:
    inner, (part, ways) = node.args[0], node.attr
    if ways == 1:
        return inner
    if inner.op == "interleave" and len(inner.args) == ways:
        taken: Expr = inner.args[part]
        return taken
    if inner.op == "tile" and inner.args[0].type.lanes % ways == 0:
        return make("tile", make("deinterleave", inner.args[0], attr=node.attr), attr=inner.attr)
    return inner.args[0] if inner.op == "repeat" and inner.attr == ways else None


def _sliced(node: Expr) -> Expr | None:
    inner, (start, lanes) = node.args[0], node.attr
    if lanes == inner.type.lanes:
        return inner
    if inner.op == "slice":
        return make("slice", inner.args[0], attr=(inner.attr[0] + start, lanes))
    if inner.op == "concat":
        at = 0
        for part in inner.args:
            if at <= start and start + lanes <= at + part.type.lanes:
                return make("slice", part, attr=(start - at, lanes))
            at += part.type.lanes
    if inner.op == "tile":
        size = inner.args[0].type.lanes
        if start // size == (start + lanes - 1) // size:
            return make("slice", inner.args[0], attr=(start % size, lanes))
    return None


def _joined(node: Expr) -> Expr | None:
    first = node.args[0]
    if len(node.args) == 1:
        return first
    if all(arg is first for arg in node.args):
        return make("tile" if node.op == "concat" else "repeat", first, attr=len(node.args))
    whole = first.args[0] if first.args else None
    ways = len(node.args)
    if node.op == "interleave":
        parts = [("deinterleave", (part, ways)) for part in range(ways)]
    else:
        starts = [sum(a.type.lanes for a in node.args[:i]) for i in range(ways)]
        spans = zip(starts, node.args, strict=True)
        parts = [("slice", (start, arg.type.lanes)) for start, arg in spans]
    same = all(
        arg.op == op and arg.attr == attr and arg.args[0] is whole
        for arg, (op, attr) in zip(node.args, parts, strict=True)
    )
    return whole if same and whole is not None and whole.type == node.type else None


def _copied(node: Expr) -> Expr | None:
    inner = node.args[0]
    if node.attr == 1:
        return inner
    if inner.op == node.op:
        return make(node.op, inner.args[0], attr=inner.attr * node.attr)
    return make("tile", inner, attr=node.attr) if node.op == "repeat" and _scalar(inner) else None


def _scalar(node: Expr) -> bool:
    return node.type.lanes == 1


RULES = (
    Law("spread_join", LANEWISE, spread_join, "f(join(a, b), join(c, d)) = join(f(a, c), f(b, d))"),
    Law("spread_copy", LANEWISE, spread_copy, "f(copy(x), copy(y)) = copy(f(x, y))"),
    Law("cancel", MOVES, cancel, "a part of a join is that part"),
)
