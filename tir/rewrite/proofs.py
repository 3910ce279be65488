"""Proof records: a committed file says of each rule which text, under which meanings, was proven.

A record is a hash of the rule's two sides and condition, of what its operators compute on edge
values, and of the source of the prover, of matching with its conditions, and of the bounds that
these ask. What is changed has no record until ``python -m dovetail.tir.rewrite.prove`` has proven
it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from ..arithmetic import Value
from ..expr import free_vars, walk
from ..ops import OPS
from ..row import PARTS
from ..types import Type, boolean, i8, i16, i32, u8, u16, u32, vector
from .rule import MOVES, Rule, Wild

FILE = Path(__file__).parent / "proofs.json"
# What a proof rests on, beside the rule and the meanings of its operators.
_HERE = Path(__file__).parent
PROVER = (
    *(_HERE / name for name in ("proofs.py", "prove.py", "smt.py", "match.py", "apply.py")),
    *(_HERE.parent / name for name in ("arithmetic.py", "row.py", "intervals.py", "bounds.py")),
)


class UnprovenRule(Exception):
    """A rule without a valid proof record."""


def require_proofs(rules: Iterable[Rule]) -> None:
    """UnprovenRule where a rule's record is missing or stale."""
    records = recorded()
    for rule in rules:
        if records.get(rule.name) != record(rule):
            state = "stale" if rule.name in records else "missing"
            raise UnprovenRule(
                f"rule {rule.name}: it must be proven before it is used, but its proof is {state}; "
                "run python -m dovetail.tir.rewrite.prove"
            )


@cache
def recorded() -> dict[str, str]:
    """The committed records, by rule."""
    found: dict[str, str] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def record(rule: Rule) -> str:
    """What the record of ``rule`` must be."""
    sides = [side for side in (rule.before, rule.after, rule.when) if side is not None]
    used = sorted({node.op for side in sides for node in walk(side) if node.args})
    kinds = sorted({f"{n}: {n.type}" for side in sides for n in walk(side) if n.op == "var"})
    parts = [source(PROVER), str(rule), *kinds, *map(fingerprint, used)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def source(files: tuple[Path, ...]) -> str:
    """A hash of what stands in ``files``."""
    texts = [file.read_text(encoding="utf-8") for file in files]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def moves_lanes(rule: Rule) -> bool:
    """Whether a side moves lanes: then two widths are proven."""
    return any(node.op in MOVES for side in (rule.before, rule.after) for node in walk(side))


def few_values(rule: Rule) -> bool:
    """Whether all values of the wildcards can be tried: no number is free, and 16 bits are all."""
    wilds = free_vars(rule.before)
    bits = sum(node.type.bits * node.type.lanes for node in wilds)
    if rule.when is not None or bits > 16 or any(w.type.lanes > 1 for w in wilds):
        return False
    return not any(isinstance(w.attr, Wild) and w.attr.constant for w in wilds)


def how_proven(rule: Rule) -> str:
    """What the prover did for this rule, in words."""
    what = "z3, bit-vectors, all values"
    if rule.when is not None:
        what += " under the condition"
    if moves_lanes(rule):
        what += ", at two widths"
    if few_values(rule):
        bits = sum(node.type.bits for node in free_vars(rule.before))
        what += f"; all {1 << bits:,} values run"
    return what


# Fingerprints of operators ------------------------------------------------------------------

KINDS = (boolean, u8, i8, u16, i16, u32, i32)
WIDE = 64  # lanes


@cache
def fingerprint(op: str) -> str:
    """A hash of what ``op`` computes on edge values of all types that it takes."""
    digest = hashlib.sha256(op.encode())
    row = OPS[op]
    if op in ("cast", "sat_cast"):
        for source in KINDS:
            for target in KINDS[1:]:
                digest.update(row.value(target, None, edges(source, 0)).tobytes())
        return digest.hexdigest()
    for kinds in product(KINDS, repeat=2 if row.arity == PARTS else row.arity):
        digest.update(_values(op, kinds))
    return digest.hexdigest()


def _values(op: str, kinds: tuple[Type, ...]) -> bytes:
    row, wide = OPS[op], tuple(vector(kind, WIDE) for kind in kinds)
    attr = row.example(WIDE) if row.example else None
    try:
        result = row.type_of(wide, attr)
        with np.errstate(all="ignore"):
            lanes = row.value(result, attr, *[edges(k, i) for i, k in enumerate(kinds)])
    except (TypeError, ValueError, IndexError):
        return b""
    return f"{kinds}{result}".encode() + lanes.tobytes()


def edges(kind: Type, place: int) -> Value:
    """64 values at the edges of ``kind``, in another order for each operand; small as third."""
    if kind.kind == "b":
        flags: Value = np.arange(64) >> place & 1 == 1
        return flags
    if place == 2:
        return (np.arange(64) % kind.bits).astype(kind.numpy)
    some = [kind.low, kind.low + 1, kind.low // 2, 0, 1, 7, kind.high // 2 + 1, kind.high]
    grid = np.array(some, kind.numpy)
    return np.repeat(grid, 8) if place == 0 else np.tile(grid, 8)
