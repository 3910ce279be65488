"""The operators, a file each: what stands in ``SPECS`` of any module of this folder is one.

FLOATS["conv2d"].meaning, INTEGERS["q_conv2d"].lower, aten_call("conv2d.padding")
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from ..spec import Aten, Integer, Spec

Row = TypeVar("Row")


def _specs() -> list[Spec]:
    names = sorted(module.name for module in iter_modules(__path__))
    return [spec for name in names for spec in import_module(f"{__name__}.{name}").SPECS]


def _table(rows: Iterable[tuple[str, Row]]) -> dict[str, Row]:
    """By name; several operators may share a row, but no name has two."""
    found: dict[str, Row] = {}
    for name, row in rows:
        assert found.setdefault(name, row) is row, f"two operators are called {name}"
    return found


SPECS = _specs()
BY_NAME: dict[str, Spec] = _table((spec.name, spec) for spec in SPECS)
FLOATS = {name: spec for name, spec in BY_NAME.items() if spec.meaning is not None}
QUANTIZED = {name: spec for name, spec in BY_NAME.items() if spec.quantize is not None}
INTEGERS: dict[str, Integer] = _table(
    (spec.integer.name, spec.integer) for spec in SPECS if spec.integer is not None
)
# The operators of float and integer graphs; what several quantize to is that of the first.
OPERATORS = {spec.integer.name: spec for spec in reversed(SPECS) if spec.integer} | FLOATS
ATEN: dict[str, Aten] = _table((name, row) for spec in SPECS for row in spec.aten
                               for name in row.names)  # fmt: skip


def aten_call(name: str) -> Aten | None:
    """The row for ``conv2d.padding``: its own, or that of all overloads of ``conv2d``."""
    return ATEN.get(name) or ATEN.get(name.split(".")[0])
