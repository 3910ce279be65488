"""The import table: which part may import which, read from the source by its AST.

options and tir know nothing; target describes a machine in tir; graph and quant make tir; schedule
shapes tir for a target; tuner picks the shape; driver calls them in order.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "options": set(),
    "tir": set(),
    "target": {"options", "tir"},
    "schedule": {"tir", "target"},
    "tuner": {"options", "schedule", "target", "tir"},
    "graph": {"options", "tir"},
    "quant": {"graph", "options", "tir"},
    "driver": {"graph", "options", "quant", "schedule", "target", "tir", "tuner"},
}


REGISTRY = Path("driver/targets.py")  # the one file that knows targets by their folders


def absolute(source: Path, node: ast.ImportFrom) -> list[str]:
    """The full names that a from-import names, `from . import x` as `dovetail.part.x`."""
    if not node.level:
        return [node.module or ""]
    package = ["dovetail", *source.relative_to(ROOT).parent.parts]
    base = package[: len(package) + 1 - node.level]
    if node.module:
        return [".".join([*base, node.module])]
    return [".".join([*base, alias.name]) for alias in node.names]


def imports(source: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, full name and whether relative, of every import of a file, wherever it stands."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            for name in absolute(source, node):
                yield node.lineno, name, node.level > 0


def target_of(name: str) -> str:
    """The target in whose folder a module lies; "" where it is no target's."""
    top, _, rest = name.partition(".")
    folder, _, inner = rest.partition(".")
    own = inner.split(".")[0]
    known = top == "dovetail" and folder == "target" and (ROOT / "target" / own).is_dir()
    return own if known else ""


def knows(source: Path, target: str) -> bool:
    """Whether a file may import a target's modules."""
    return source == REGISTRY or source.parts[:2] == ("target", target)


def faults(part: str) -> Iterator[str]:
    """A sentence for each import of a part that the table does not allow."""
    for source in sorted((ROOT / part).rglob("*.py")):
        for line, name, relative in imports(source):
            place = f"{source.relative_to(ROOT)}:{line} imports {name}"
            top, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if (own := target_of(name)) and not knows(source.relative_to(ROOT), own):
                yield f"{place}: {own} is known in its folder and in {REGISTRY} alone"
            elif top in MAY_IMPORT or (top == "dovetail" and not relative):
                yield f"{place}: parts import each other relatively"
            elif top == "dovetail" and other not in MAY_IMPORT[part] | {part}:
                allowed = ", ".join(sorted(MAY_IMPORT[part])) or "no other part"
                yield f"{place}: {part} may import {allowed}"


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_part_imports_only_what_the_table_allows(part: str) -> None:
    assert not list(faults(part))


def test_an_import_of_a_target_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "target" / "dsp").mkdir(parents=True)
    (tmp_path / "driver").mkdir()
    line = "from ..target.dsp.machine import Machine\n"
    (tmp_path / "driver" / "task.py").write_text(line)
    (tmp_path / REGISTRY).write_text(line)
    (tmp_path / "target" / "dsp" / "pack.py").write_text("from .machine import Machine\n")
    assert list(faults("target")) == []
    assert list(faults("driver")) == [
        "driver/task.py:1 imports dovetail.target.dsp.machine: dsp is known in its folder and in "
        "driver/targets.py alone"
    ]


def test_the_table_names_every_part() -> None:
    assert {p.parent.name for p in ROOT.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_a_wrong_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "tir" / "passes").mkdir(parents=True)
    source = tmp_path / "tir" / "passes" / "lift.py"
    source.write_text("from ..types import i8\nfrom ...target import machine\nimport tir.ops\n")
    assert list(faults("tir")) == [
        "tir/passes/lift.py:2 imports dovetail.target: tir may import no other part",
        "tir/passes/lift.py:3 imports tir.ops: parts import each other relatively",
    ]
