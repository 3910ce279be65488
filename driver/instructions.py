"""A machine's vector instructions as ``dovetail instructions`` shows them."""

from __future__ import annotations

from typing import Any

from ..target.protocol import Target


def rows(target: Target) -> list[dict[str, Any]]:
    """One for each vector instruction, in the order of the table."""
    return [
        {"name": row.name, "hvx": row.hvx, "unit": target.unit(row),
         "timing": list(row.timing), "since": row.since, "asm": row.asm, "meaning": row.doc}
        for row in target.rows.values() if row.is_vector
    ]  # fmt: skip
