"""The line of algebra that stands above a rule in its source, for people who ask about the rule.

algebra(rule)   # 'A saturating cast may take the clamp inside as well.'

It is the comment in front of the ``Rule(...)``, or the docstring of the function that makes it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from ..rewrite.rule import Law, Rule
from . import canonical, dot, fixed_point, layout, narrow, requantize, saturate

FILES = (canonical, fixed_point, saturate, narrow, requantize, dot, layout)


def algebra(rule: Rule | Law) -> str:
    """What the source says about the rule; "" if nothing."""
    home = next((file for file in FILES if _has(file, rule)), None)
    if home is None or home.__file__ is None:
        return ""
    known = [row for row in _known(home.__file__) if row[0].fullmatch(rule.name)]
    return max(known, key=lambda row: len(row[1]))[2] if known else ""


def _has(file: ModuleType, rule: Rule | Law) -> bool:
    return any(other.name == rule.name for other in file.RULES)


@cache
def _known(path: str) -> tuple[tuple[re.Pattern[str], str, str], ...]:
    """Of each rule in a file: the names that it may have, what is fixed in them, its text."""
    found = _of_file(Path(path).read_text(encoding="utf-8"))
    return tuple((re.compile(pattern), plain, text) for pattern, plain, text in found)


def _of_file(source: str) -> Iterator[tuple[str, str, str]]:
    lines = source.splitlines()
    stack: list[tuple[ast.AST, str]] = [(ast.parse(source), "")]
    while stack:
        node, doc = stack.pop()
        if isinstance(node, ast.FunctionDef):
            doc = " ".join((ast.get_docstring(node) or "").split())
        if isinstance(node, ast.Call) and _is_rule(node):
            text = _comment(lines, node.lineno - 1) or doc
            yield (*_spelled(node.args[0]), text)
        stack.extend((child, doc) for child in ast.iter_child_nodes(node))


def _is_rule(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("Rule", "Law") and bool(call.args)


def _spelled(name: ast.expr) -> tuple[str, str]:
    """A pattern for the names that an expression spells, and its fixed characters."""
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    fixed = [str(part.value) if isinstance(part, ast.Constant) else None for part in parts]
    pattern = "".join(".+" if text is None else re.escape(text) for text in fixed)
    return pattern, "".join(text or "" for text in fixed)


def _comment(lines: list[str], at: int) -> str:
    """The comment right above a line."""
    found: list[str] = []
    while at > 0 and lines[at - 1].lstrip().startswith("#"):
        at -= 1
        found.insert(0, lines[at].strip().lstrip("# "))
    return " ".join(found)
