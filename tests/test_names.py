"""A name says which: no two modules and no two classes of the house have the same one.

Files of rows are named by their row, whatever else is called so: operators of graphs, instructions,
rules. Each part has its ``errors``.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = sorted(p.parent for p in ROOT.glob("*/__init__.py"))
ROWS = ("graph/operators", "target/dsp/instructions", "tir/rules")
EVERYWHERE = {"__init__", "__main__", "errors"}


def modules() -> Iterator[Path]:
    for part in PARTS:
        yield from sorted(part.rglob("*.py"))


def twice(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in found.items() if len(places) > 1}


def test_modules_have_names_of_their_own() -> None:
    found = defaultdict(list)
    for module in modules():
        place = str(module.relative_to(ROOT))
        if module.stem not in EVERYWHERE and not place.startswith(ROWS):
            found[module.stem].append(place)
    assert twice(found) == {}


def test_classes_have_names_of_their_own() -> None:
    found = defaultdict(list)
    for module in modules():
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(module.relative_to(ROOT)))
    assert twice(found) == {}
