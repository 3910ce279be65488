"""The vector instructions by family, and ``TABLE``: all rows by name in the order of the source."""

from __future__ import annotations

from ...declare import collect
from ...instruction import Instruction
from . import add, dot, memory, multiply, permute, select, shift

TABLE: dict[str, Instruction] = collect((add, select, multiply, dot, shift, permute, memory))


def instructions(version: int) -> dict[str, Instruction]:
    """The rows that hardware ``version`` has (66 for v66)."""
    return {name: row for name, row in TABLE.items() if row.since <= version}
