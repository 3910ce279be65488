"""The rules of lifting as ``dovetail rules`` shows them: a line a family, or one with its proof.

entries("clamp_then_cast")[0]["before"]     # 'cast(u8, max(min(x, high), low))'
"""

from __future__ import annotations

from ...tir.expr import Expr, transform, var
from ...tir.rewrite.proofs import how_proven, record
from ...tir.rewrite.rule import Law, Rule
from ...tir.rules import lifting_rules
from ...tir.rules.algebra import algebra
from .. import printed
from ..errors import InputError
from .variant import nearest, rules_named

Entry = dict[str, str]
WIDTH = 36  # characters of a side in the table


def entries(name: str | None) -> list[Entry]:
    """All rules, or those of a name or family."""
    rules = lifting_rules().rules
    if name is None:
        return [_entry(rule) for rule in rules]
    found = rules_named(name)
    if not found:
        known = [part for rule in rules for part in (rule.name, rule.name.partition(".")[0])]
        raise InputError(
            f"rules: must be the name of a rule or of a family, but got {name!r}"
            f"{nearest(name, known)}"
        )
    return [_entry(rule) for rule in rules if rule.name in found]


def _entry(rule: Rule | Law) -> Entry:
    if isinstance(rule, Law):
        roots = ", ".join(sorted(rule.roots))
        return {
            "name": rule.name, "before": f"at {roots}", "after": "a function", "when": "",
            "algebra": rule.doc or algebra(rule),
            "proof": "by tests against the interpreter: lanes are moved, values are kept",
        }  # fmt: skip
    return {
        "name": rule.name, "before": repr(rule.before), "after": repr(rule.after),
        "when": "" if rule.when is None else _condition(rule.when), "algebra": algebra(rule),
        "proof": f"{how_proven(rule)}; record {record(rule)}",
    }  # fmt: skip


def _condition(when: Expr) -> str:
    """A condition without the casts to exact integers, which only the prover needs."""

    def plain(node: Expr) -> Expr | None:
        bare = node.op == "cast" and node.args[0].op == "var"
        return var(str(node.args[0].attr), node.type) if bare else None

    return repr(transform(when, plain))


def table(found: list[Entry]) -> None:
    """Prints a line for each family: its first rule, and the number of types it has rules for."""
    families: dict[str, list[Entry]] = {}
    for entry in found:
        families.setdefault(entry["name"].partition(".")[0], []).append(entry)
    rows = [
        (name, len(rules), _cut(rules[0]["before"]), _cut(rules[0]["after"]))
        for name, rules in families.items()
    ]
    printed.table(("family", "rules", "before", "after"), rows)
    print(f"\n{len(found)} rules in {len(rows)} families; of each family the first one is shown")


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."


def details(found: list[Entry]) -> None:
    """Prints everything about each rule."""
    for entry in found:
        print(entry["name"])
        for key in ("algebra", "before", "after", "when", "proof"):
            if entry[key]:
                print(f"  {key:8} {entry[key]}")
