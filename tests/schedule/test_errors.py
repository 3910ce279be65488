"""Each refusal: the whole text, from ``errors.txt``, which holds kernel, steps and error.

    --- matmul: sch.split("m", (5, 2))
    split: the factors must multiply to the extent or tail= must be given, but got ...

``python -m tests.schedule.test_errors`` writes the texts anew, to be read before they are kept.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dovetail.schedule import schedule as package
from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from tests.schedule.kernels import TEXTS, kernel
from tests.schedule.odd import ODD

FILE = Path(__file__).with_name("errors.txt")
SOURCES = Path(package.__file__).parent


def cases() -> list[tuple[str, str, str]]:
    """Kernel, steps and error of each case."""
    found = re.split(r"^--- ", FILE.read_text(), flags=re.MULTILINE)[1:]
    heads = [case.partition("\n") for case in found]
    return [(*head.split(": ", 1), text.rstrip("\n")) for head, _, text in heads]


def function(name: str) -> PrimFunc:
    func = kernel(name) if name in TEXTS else parse(ODD[name])
    if name in ODD and any(p.name == "w" for p in func.params):
        func.constants["w"] = np.ones((8, 8), np.int8)
    return func


def refused(name: str, steps: str) -> str:
    """The text of the error that the last step raises; the schedule must stay as it was."""
    *before, last = steps.split("; ")
    with pytest.raises(ScheduleError) as error:
        sch = Schedule(function(name))
        for step in before:
            exec(step, {"sch": sch})
        kept = sch.func, str(sch.trace)
        try:
            exec(last, {"sch": sch})
        except ScheduleError:
            assert (sch.func, str(sch.trace)) == kept
            raise
    return str(error.value)


@pytest.mark.parametrize(("name", "steps", "text"), cases())
def test_error_text(name: str, steps: str, text: str) -> None:
    assert refused(name, steps) == text


def sites() -> Iterator[tuple[str, int, int]]:
    """Module, first and last line of each place that makes an error."""
    for path in sorted(SOURCES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "refusal":
                yield path.stem, node.lineno, node.end_lineno or node.lineno


def test_every_error_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = set(sites())
    for module in {name for name, _, _ in missing}:
        made = importlib.import_module(f"dovetail.schedule.{module}")
        original = made.refusal

        def noting(*args: object, module: str = module, original: object = original,
                   **more: object) -> object:  # fmt: skip
            line = sys._getframe(1).f_lineno
            missing.difference_update(
                [s for s in missing if s[0] == module and s[1] <= line <= s[2]]
            )
            return original(*args, **more)  # type: ignore[operator]

        monkeypatch.setattr(made, "refusal", noting)
    for name, steps, _ in cases():
        refused(name, steps)
    assert not missing


if __name__ == "__main__":
    FILE.write_text(
        "".join(f"--- {name}: {steps}\n{refused(name, steps)}\n" for name, steps, _ in cases())
    )
