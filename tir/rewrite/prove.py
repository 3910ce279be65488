"""Proves rules: for all values and numbers under the condition, both sides are equal.

    python -m dovetail.tir.rewrite.prove            # proves what has no valid record
    python -m dovetail.tir.rewrite.prove --scratch  # make prove: proves all

Both write the file of records.

Bit-vector logic decides (z3); a product of 32-bit values is a free variable within its bounds, for
equal factors the same one. A rule that moves lanes is proven for one and for two of its widths.
Where the values have 16 bits together, all of them are also tried by the meanings of the op table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import numpy as np
import z3

from ..evaluate_expr import evaluate_expr
from ..expr import Expr, free_vars, walk
from . import proofs
from .apply import scaled
from .rule import WHOLE, RangeEnd, Rule, Wild
from .smt import Products, Terms, meaning, resized

SECONDS = 60.0  # that one rule may take


class Refuted(Exception):
    """The two sides differ, with values that show it; or the prover gave up."""


def prove(rule: Rule) -> None:
    """Refuted unless both sides are equal wherever the condition holds."""
    for scale in (1, 2) if proofs.moves_lanes(rule) else (1,):
        _prove_at(rule, scale)
    _try_all(rule)


def _try_all(rule: Rule) -> None:
    """Compares both sides on all values, where these are few and no number is free."""
    if not proofs.few_values(rule):
        return
    wilds = sorted(free_vars(rule.before), key=lambda node: str(node.attr))
    grid = np.meshgrid(*[np.arange(w.type.low, w.type.high + 1) for w in wilds], indexing="ij")
    env = {
        wild.attr: values.reshape(-1, 1).astype(wild.type.numpy)
        for wild, values in zip(wilds, grid, strict=True)
    }
    left, right = evaluate_expr(rule.before, env), evaluate_expr(rule.after, env)
    if not np.array_equal(left, right):
        raise Refuted(f"rule {rule.name}: both sides must be equal on all values, but differ")


def _prove_at(rule: Rule, scale: int) -> None:
    equal(rule.name, scaled(rule.before, scale), scaled(rule.after, scale), rule.when)


def equal(name: str, before: Expr, after: Expr, when: Expr | None = None) -> None:
    """Refuted unless both expressions over wildcards are equal wherever ``when`` holds."""
    env, facts = _environment((before, after), when)
    products = Products()
    left, right = meaning(before, env, products), meaning(after, env, products)
    facts += _whole_ends(before, left, when, env)
    solver = z3.Solver()
    solver.set("timeout", int(SECONDS * 1000))
    if when is not None:
        solver.add(meaning(when, env, products)[0])
    solver.add(*facts, *products.facts)
    solver.add(z3.Or([a != b for a, b in zip(left, right, strict=True)]))
    found = solver.check()
    if found == z3.sat:
        raise Refuted(f"rule {name}: both sides must be equal, but got {solver.model()}")
    if found != z3.unsat:
        raise Refuted(f"rule {name}: a proof must be found within {SECONDS:g} s, but got none")


def _environment(
    sides: tuple[Expr, ...], when: Expr | None
) -> tuple[dict[Expr, Terms], list[z3.ExprRef]]:
    """A term a lane of each wildcard (numbers are equal in all), and what is known of ends."""
    wilds = {node for side in sides for node in walk(side) if node.op == "var"}
    env: dict[Expr, Terms] = {}
    for name in wilds:
        env[name] = _terms(name)
    named = {node.attr.name: node for node in wilds}
    facts: list[z3.ExprRef] = []
    for node in walk(when) if when is not None else ():
        if node.op != "var" or node in env or _of_whole(node):
            continue
        if isinstance(node.attr, RangeEnd):
            env[node] = [z3.BitVec(str(node), 64)]
            facts += _ends(node, named[node.attr.name], env)
        else:
            same = named[node.attr.name]
            env[node] = env[same][:1]
    return env, facts


def _of_whole(node: Expr) -> bool:
    return isinstance(node.attr, RangeEnd) and node.attr.name == WHOLE


def _whole_ends(
    before: Expr, left: Terms, when: Expr | None, env: dict[Expr, Terms]
) -> list[z3.ExprRef]:
    """What is known of the ends of the left side, where the condition names them."""
    ends = [node for node in walk(when) if node.op == "var" and _of_whole(node)] if when else []
    for end in ends:
        env[end] = [z3.BitVec(str(end), 64)]
    return [fact for end in ends for fact in _ends(end, before, {**env, before: left})]


def _terms(node: Expr) -> Terms:
    kind, name = node.type, str(node.attr)
    if isinstance(node.attr, Wild) and node.attr.constant:
        return [z3.BitVec(name, kind.bits)] * kind.lanes
    if kind.kind == "b":
        return [z3.Bool(f"{name}.{lane}") for lane in range(kind.lanes)]
    return [z3.BitVec(f"{name}.{lane}", kind.bits) for lane in range(kind.lanes)]


def _ends(end: Expr, of: Expr, env: dict[Expr, Terms]) -> list[z3.ExprRef]:
    """No lane is beyond the end, which itself is a value of the type."""
    term, kind = env[end][0], of.type
    values = [resized(lane, kind, 64) for lane in env[of]]
    facts = [term >= kind.low, term <= kind.high]
    return facts + [v <= term if end.attr.high else v >= term for v in values]


# Records ------------------------------------------------------------------------------------


def prove_all(rules: Iterable[Rule], records: dict[str, str]) -> dict[str, str]:
    """Records of all rules; those in ``records`` that are valid are kept unproven."""
    fresh = {}
    for rule in rules:
        want = proofs.record(rule)
        if records.get(rule.name) != want:
            prove(rule)
        fresh[rule.name] = want
    return fresh


def main(arguments: list[str]) -> None:
    """Writes the records; ``--scratch`` proves every rule again."""
    from ..rules import RULES

    kept = {} if "--scratch" in arguments else proofs.recorded()
    records = prove_all(RULES, kept)
    lines = json.dumps(dict(sorted(records.items())), indent=0)
    proofs.FILE.write_text(lines + "\n")
    print(f"{len(records)} rules are proven")


if __name__ == "__main__":
    main(sys.argv[1:])
