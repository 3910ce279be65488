"""Which operators of a model are supported: a row for each, with its count and first place.

for row in coverage(model, inputs):
    print(row.operator, row.count, row.supported, row.source)
"""

from __future__ import annotations

from dataclasses import dataclass

from .torch_import import Met, lower


@dataclass(frozen=True, slots=True)
class CallRow:
    """An operator as the model calls it; ``reason`` tells what is not supported about this use."""

    operator: str
    count: int
    supported: bool
    source: str
    reason: str = ""


def coverage(model: object, inputs: object = None) -> list[CallRow]:
    """A row for each operator and reason, unsupported ones first, then by count and name."""
    groups: dict[tuple[str, bool, str], list[Met]] = {}
    for met in lower(model, inputs)[1]:
        groups.setdefault((met.operator, met.supported, met.reason), []).append(met)
    rows = [
        CallRow(name, len(calls), supported, calls[0].source, reason)
        for (name, supported, reason), calls in groups.items()
    ]
    return sorted(rows, key=lambda row: (row.supported, -row.count, row.operator, row.reason))
