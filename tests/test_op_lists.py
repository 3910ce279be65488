"""What an operator is like is a fact of its row: no other file lists operators that are alike."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dovetail
from dovetail.tir.ops import OPS

ROOT = Path(dovetail.__file__).parent
PLACES = ("tir", "target", "schedule", "graph", "tests/target/lanes.py", "tests/schedule/draw.py")
MANY = 3  # names of operators that make a list

# What else is done by the operator, not known of it.
MEANT = {
    "schedule/resize.py": "how a sum of loads stays 0 beyond an axis, operator by operator",
    "schedule/templates/packets.py": "estimates of instructions",
    "target/dsp/machine.py": "how many instructions operators take on that machine",
    "target/declare.py": "arithmetic of Python in an instruction's body",
    "target/legalize.py": "conversions, which are legalized alike",
    "target/llvm_lanes.py": "LLVM is written apart from the rows, so that it checks them",
    "target/llvm_ops.py": "LLVM is written apart from the rows, so that it checks them",
    "target/scalars.py": "how words compute what narrow values mean",
    "tir/facts.py": "which linear form each comparison says is at most 0",
    "tir/independence.py": "functions of NumPy that fold in place",
    "tir/rules/fixed_point.py": "a rule for each",
    "tir/rules/narrow.py": "a rule for each",
    "tir/simplifier.py": "a function for each, and the operators of linear indices",
}


def listed(path: Path) -> Iterator[int]:
    """The lines where operators are listed by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        else:
            continue
        words = [part.value for part in parts if isinstance(part, ast.Constant)]
        names = {word for word in words if isinstance(word, str) and word in OPS}
        if len(names) >= MANY and len(names) == len(set(words)):
            yield node.lineno


def test_facts_of_operators_stand_in_their_rows() -> None:
    table = ROOT / "tir" / "ops.py"
    files = [path for place in PLACES
             for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
             if path != table]  # fmt: skip
    lines = {str(path.relative_to(ROOT)): [*listed(path)] for path in files}
    found = {name: at for name, at in lines.items() if at}
    assert found.keys() == MEANT.keys(), found


def test_a_list_is_found(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        'A = ("add", "min", "max")\nB = ("add", "min", "x")\nC = {"or_": 1, "xor": 2}\n'
    )
    assert [*listed(file)] == [1]
