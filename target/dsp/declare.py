"""``@instruction`` and ``@family`` of the dsp: its vectors, and how LLVM calls HVX."""

from __future__ import annotations

from ..declare import Rows

VECTOR = 128  # bytes of a register
_rows = Rows(VECTOR, "V6.{}.128B")
instruction, family = _rows.instruction, _rows.family
