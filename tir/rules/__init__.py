"""The rules that lift plain integer arithmetic into the fixed-point vocabulary.

``LIFT`` holds all of them, proven; a rule whose proof record is missing or stale does not load.
"""

from __future__ import annotations

from functools import cache

from ..rewrite.engine import RuleSet
from ..rewrite.proofs import require_proofs
from ..rewrite.rule import Law, Rule
from . import canonical, dot, fixed_point, layout, narrow, requantize, saturate

RULES: tuple[Rule, ...] = (
    *canonical.RULES,
    *narrow.RULES,  # before halfwords become words
    *fixed_point.RULES,
    *saturate.RULES,
    *requantize.RULES,
    *dot.RULES,
)
LAWS: tuple[Law, ...] = layout.RULES


@cache
def lifting_rules() -> RuleSet:
    """All rules and laws, after their proof records are checked."""
    require_proofs(RULES)
    return RuleSet((*RULES, *LAWS))
