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


def graph_of(part: str) -> dict[str, set[str]]:
    """The modules of a part, and those of it that each imports, but for types, wherever."""
    sources = sorted((ROOT / part).rglob("*.py"))
    paths = {".".join(["dovetail", *source.relative_to(ROOT).with_suffix("").parts]): source
             for source in sources}  # fmt: skip
    return {name: set(run_imports(source)) & set(paths) for name, source in paths.items()}


def run_imports(source: Path) -> Iterator[str]:
    """Names of modules that are loaded when a file or its functions run."""
    tree = ast.parse(source.read_text())
    for guard in [n for n in ast.walk(tree) if isinstance(n, ast.If)]:
        if ast.unparse(guard.test) == "TYPE_CHECKING":
            guard.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            for name in absolute(source, node):
                yield name
                yield from (f"{name}.{alias.name}" for alias in node.names)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; none where there is an order."""
    left = {name: set(below) for name, below in graph.items()}
    while done := [name for name, below in left.items() if not below & set(left)]:
        for name in done:
            del left[name]
    return sorted(left)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_modules_of_a_part_stand_in_an_order(part: str) -> None:
    assert circle(graph_of(part)) == []


def test_a_circle_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "tir").mkdir()
    (tmp_path / "tir" / "expr.py").write_text("def f():\n    from .show import show\n")
    (tmp_path / "tir" / "show.py").write_text("from .expr import f\n")
    (tmp_path / "tir" / "types.py").write_text("if TYPE_CHECKING:\n    from .expr import f\n")
    assert circle(graph_of("tir")) == ["dovetail.tir.expr", "dovetail.tir.show"]


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
