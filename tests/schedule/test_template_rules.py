"""Templates read what blocks are, not what they are called, and change them by primitives alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dovetail.schedule import templates

FILES = {path.stem: path for path in sorted(Path(templates.__file__).parent.glob("*.py"))}
STATEMENTS = {"For", "Store", "Block", "Alloc", "Seq", "Copy", "If", "Wait", "seq"}
LOOKUPS = {"find_block", "find_buffer"}


def calls(name: str) -> set[str]:
    """The names that a file calls."""
    nodes = ast.walk(ast.parse(FILES[name].read_text()))
    return {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def names_blocks(name: str) -> bool:
    """Whether a file looks for blocks by name, or reads the kind of a kernel."""
    tree = ast.parse(FILES[name].read_text())
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    loops = (n for n in ast.walk(tree) if isinstance(n, ast.Call))
    fixed = any(
        isinstance(n.func, ast.Attribute)
        and n.func.attr in ("loops", "get_block", "compute_at", "transform_layout")
        and n.args
        and isinstance(n.args[0], ast.Constant)
        for n in loops
    )
    return fixed or "kind" in strings or bool(calls(name) & LOOKUPS)


@pytest.mark.parametrize("name", FILES)
def test_templates_construct_no_statements(name: str) -> None:
    assert not calls(name) & STATEMENTS


@pytest.mark.parametrize("name", FILES)
def test_templates_know_no_names(name: str) -> None:
    assert not names_blocks(name)
