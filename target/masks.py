"""Predicates that are known: lanes that hold and lanes that do not, register by register.

The first n lanes are one instruction; other runs of lanes are the exclusive or of the first lanes
up to each place where they change; bytes that are alike in all words, those of a scalar.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

from ..tir.expr import Expr, const
from ..tir.types import Type, boolean, i32, u8, vector
from .roles import Roles, differ, opposite, shared_bits
from .trees import Splat, Tree, Trees

MOST = 32  # changes within a register


def known_lanes(node: Expr) -> list[bool] | None:
    """Which lanes of a condition hold, if that is known."""
    parts = node.args if node.op == "concat" else (node,)
    if node.type.kind != "b" or not all(part.is_const for part in parts):
        return None
    return [bool(part.attr) for part in parts for _ in range(part.type.lanes)]


def predicates(holds: list[bool], lanes: int, trees: Trees) -> Tree | None:
    """The registers' predicates, of ``lanes`` lanes each; None where lanes change too often."""
    if len(holds) % lanes or trees.bytes // lanes not in (1, 2, 4):
        return None
    kind, parts = vector(boolean, lanes), list[Tree]()
    for start in range(0, len(holds), lanes):
        found = _predicate(holds[start : start + lanes], kind, trees)
        if found is None:
            return None
        parts.append(found)
    return trees.joined(parts)


def _predicate(holds: list[bool], kind: Type, trees: Trees) -> Tree | None:
    changes = [at for at, (a, b) in enumerate(pairwise(holds), 1) if a != b]
    roles = trees.roles
    if not changes:
        return Splat(const(holds[0], boolean), kind)
    if len(changes) > MOST:
        return _by_words(holds, kind, roles)
    firsts = [roles.first_lanes(at, kind) for at in changes]
    found = reduce(lambda a, b: a and b and roles.call(differ, kind, a, b), firsts)
    return found and (roles.call(opposite, kind, found) if holds[-1] else found)


def _by_words(holds: list[bool], kind: Type, roles: Roles) -> Expr | None:
    """The same bytes of each word."""
    if kind.lanes != roles.bytes or holds != holds[:4] * (roles.bytes // 4):
        return None
    word = sum(hold << 8 * at for at, hold in enumerate(holds[:4]))
    words = const(word, vector(i32, roles.bytes // 4))
    ones = Expr("reinterpret", vector(u8, roles.bytes), (words,))
    return roles.call(shared_bits, kind, ones, const(1, vector(u8, 4)))
