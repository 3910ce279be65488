"""Public rows say of each field what it is, and of each number its unit."""

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest

from dovetail.driver.points import KernelDrift
from dovetail.driver.report import Report
from dovetail.driver.tuned import KernelRow, MemoryUse
from dovetail.target.cost import Cost

UNITS = re.compile(
    r"\b(bytes|cycles?|seconds|packets?|number|instructions?|0 to 1|multiplications|stores|point)\b"
)


@pytest.mark.parametrize("row", [KernelRow, Cost, MemoryUse, KernelDrift, Report])
def test_each_field_says_what_it_is(row: Any) -> None:
    source = inspect.getsource(row)
    for field in fields(row):
        line = re.search(rf"^    {field.name}: (.*?)  # (.*)$", source, re.MULTILINE)
        assert line, f"{row.__name__}.{field.name} must have a comment that says what it is"
        if "int" in line[1] or "float" in line[1]:
            assert UNITS.search(f"{field.name} {line[2]}"), (
                f"{row.__name__}.{field.name} must say its unit, but says {line[2]!r}"
            )
