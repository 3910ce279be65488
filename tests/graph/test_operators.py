"""One operator, one file: the tables are made of what stands in the files, and of nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dovetail.graph import operators
from dovetail.graph.operators import ATEN, FLOATS, INTEGERS, SPECS, aten_call
from dovetail.graph.spec import Integer, Spec

ROOT = Path(__file__).parents[2]
# Files that write nodes of one operator, or rewrite one into another.
WRITE = {
    f"graph/{name}.py"
    for name in (
        "aten",
        "graph_builder",
        "compose",
        "lower_move",
        "ranks",
        "row_taps",
        "spread",
        "aten_mask",
        "aten_norm",
        "aten_take",
    )
} | {"driver/model_timeline.py"}  # "cat" is a field of the trace's format


def test_the_tables_hold_what_the_files_say() -> None:
    assert INTEGERS["q_add"] is FLOATS["add"].integer is FLOATS["sub"].integer
    assert {spec.name for spec in SPECS if spec.meaning} == FLOATS.keys()
    assert ATEN["_softmax"].public == "softmax"
    assert aten_call("conv2d.padding") is ATEN["conv2d"]
    assert aten_call("pow.Tensor_Tensor") is None


def test_a_file_is_all_that_an_operator_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from dovetail.graph.spec import Spec\nSPECS = (Spec('cube', meaning=print),)\n"
    (tmp_path / "cube.py").write_text(text)
    monkeypatch.setattr(operators, "__path__", [*operators.__path__, str(tmp_path)])
    found = operators._specs()
    sys.modules.pop("dovetail.graph.operators.cube")
    assert {spec.name for spec in found} - {spec.name for spec in SPECS} == {"cube"}


def test_no_name_has_two_operators() -> None:
    with pytest.raises(AssertionError, match="two operators are called one"):
        operators._table([("one", Spec("one")), ("one", Spec("one", moves=True))])


def test_every_integer_operator_has_all_of_its_meaning() -> None:
    for spec in SPECS:
        assert spec.quantize is None or spec.integer is not None
        assert spec.integer is None or isinstance(spec.integer, Integer)


def test_the_operators_do_not_load_torch() -> None:
    code = "import sys, dovetail.graph.lower; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def named(part: str) -> Iterator[str]:
    """Files of a part that name operators as only graphs have them."""
    names = {spec.name for spec in SPECS} | INTEGERS.keys() | ATEN.keys()
    shared = {"add", "sub", "mul", "slice", "lookup", "table", "to", "t", "alias", "mean", "move",
              "log", "var", "lt", "le", "index", "copy"}  # fmt: skip
    for source in sorted((ROOT / part).rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and node.value in names - shared:
                yield str(source.relative_to(ROOT))


def test_no_other_file_has_lists_of_operators() -> None:
    found = {name for part in ("graph", "quant", "driver", "schedule", "tuner")
             for name in named(part)}  # fmt: skip
    assert {name for name in found if not name.startswith("graph/operators/")} <= WRITE
