"""Laws: each is tried at each operator that it names, on moved lanes of all kinds of values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from dovetail.tir.expr import Expr, const, make, walk
from dovetail.tir.ops import OPS
from dovetail.tir.rewrite.prove import equal
from dovetail.tir.rewrite.rule import Law, wild
from dovetail.tir.row import Lanes
from dovetail.tir.rules import LAWS
from dovetail.tir.types import Type, i16, u16, vector
from tests.tir.operands import CASTS, INTEGERS, KINDS, operand_types
from tests.tir.reached import Reached
from tests.tir.test_unproven import same

ROOTS = {law.name: law.roots for law in LAWS}
ALONE = {op.name for op in OPS.values() if op.arity == 1 and op.lanes is Lanes.SAME}
NEVER = {"spread_copy": CASTS, "spread_join": CASTS | ALONE}  # their functions refuse these


class Moves:
    """Draws lanewise operators on moved lanes, and moves of moves."""

    def __init__(self, seed: str) -> None:
        self.rng = Random(seed)

    def leaf(self, kind: Type, lanes: int) -> Expr:
        if self.rng.random() < 0.2:
            return self.uniform(kind, lanes)
        return wild(self.rng.choice("ab") + f"_{kind}_{lanes}", vector(kind, lanes))

    def uniform(self, kind: Type, lanes: int) -> Expr:
        return const(True if kind.kind == "b" else 1, vector(kind, lanes))

    def moved(self, kind: Type, lanes: int, depth: int) -> Expr:
        """Lanes that some move gave."""
        if depth == 0:
            return self.leaf(kind, lanes)
        op = self.rng.choice(sorted(ROOTS["cancel"]))
        return self.move(op, kind, lanes, depth)

    def move(self, op: str, kind: Type, lanes: int, depth: int) -> Expr:
        below = depth - 1
        ways = self.rng.choice([n for n in (1, 2, 4) if lanes % n == 0])
        match op:
            case "interleave" | "concat":
                lead = self.moved(kind, lanes // ways, below)
                parts = [self.moved(kind, lanes // ways, below) for _ in range(ways - 1)]
                if self.rng.random() < 0.3:
                    parts = [lead] * (ways - 1)
                if self.rng.random() < 0.4:
                    whole = self.leaf(kind, lanes)
                    return make(op, *[self.part(op, whole, at, ways) for at in range(ways)])
                return make(op, lead, *parts)
            case "tile" | "repeat":
                return make(op, self.moved(kind, lanes // ways, below), attr=ways)
            case "deinterleave":
                at = (self.rng.randrange(ways), ways)
                return make(op, self.moved(kind, lanes * ways, below), attr=at)
        more = self.rng.choice([0, 1, 4, lanes])
        start = self.rng.randint(0, more)
        return make("slice", self.moved(kind, lanes + more, below), attr=(start, lanes))

    def part(self, op: str, whole: Expr, at: int, ways: int) -> Expr:
        if op == "interleave":
            return make("deinterleave", whole, attr=(at, ways))
        lanes = whole.type.lanes // ways
        return make("slice", whole, attr=(at * lanes, lanes))

    def lanewise(self, op: str, kinds: tuple[Type, ...]) -> Expr:
        """``op`` on operands whose lanes are moved, mostly alike."""
        lead = self.rng.choice(["interleave", "concat", "tile", "repeat"])
        args: list[Expr] = []
        for kind in kinds:
            how = lead if self.rng.random() < 0.9 else "interleave"
            uniform = args and self.rng.random() < 0.2
            args.append(self.uniform(kind, 4) if uniform else self.spread(how, kind))
        if op in CASTS:
            return Expr(op, vector(self.rng.choice(INTEGERS), 4), tuple(args))
        return make(op, *args)

    def spread(self, op: str, kind: Type) -> Expr:
        ways = self.rng.choice([2, 2, 2, 4])
        if op in ("tile", "repeat"):
            return make(op, self.leaf(kind, 4 // ways), attr=ways)
        return make(op, *[self.leaf(kind, 4 // ways) for _ in range(ways)])


def drawn_lanes(root: str, law: str) -> Iterator[Expr]:
    for seed in range(150):
        drawn = Moves(f"{root} {seed}")
        if law == "cancel":
            yield drawn.move(root, drawn.rng.choice(KINDS), 4, drawn.rng.choice([1, 2, 2]))
        else:
            yield drawn.lanewise(root, drawn.rng.choice(operand_types(root)))


def proven(before: Expr, after: Expr) -> bool:
    """Whether the prover knows the operators, and then has proven that both sides are equal."""
    nodes = [node for side in (before, after) for node in walk(side)]
    if any(not OPS[node.op].proven or node.type.kind == "f" for node in nodes):
        return False
    if any(arg.type.kind == "b" for n in nodes if n.op != "select" for arg in n.args):
        return False  # an order of flags
    equal("law", before, after)
    return True


@pytest.mark.parametrize("law", LAWS, ids=[law.name for law in LAWS])
def test_laws_keep_values_at_every_root_and_on_every_way(law: Law) -> None:
    reached, applied, logic = Reached([law.apply]), Counter[str](), 0
    with reached:  # a move that is no root of any law
        assert law.apply(make("reinterpret", wild("a", i16), attr=u16), {}) is None
    for root in sorted(law.roots):
        for seed, node in enumerate(drawn_lanes(root, law.name)):
            with reached:
                after = law.apply(node, {})
            if after is not None and applied[root] < 40:
                applied[root] += 1
                same(node, after, {}, seed)
                logic += applied[root] < 5 and proven(node, after)
    assert {root for root in law.roots if not applied[root]} == NEVER.get(law.name, set())
    assert logic >= len(law.roots)
    assert " ".join(reached.missed()) == ""
