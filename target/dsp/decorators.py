"""``@instruction`` and ``@family`` of the dsp: its vectors, their types, and how LLVM calls HVX."""

from __future__ import annotations

from typing import TypeAlias

from ...tir.expr import Expr
from ..declare import RowTable

VECTOR = 128  # bytes of a register
_rows = RowTable(VECTOR, "V6.{}.128B")
instruction, family = _rows.instruction, _rows.family

# Vectors, pairs of vectors, predicates.
i8x128: TypeAlias = Expr
u8x128: TypeAlias = Expr
i16x64: TypeAlias = Expr
u16x64: TypeAlias = Expr
i32x32: TypeAlias = Expr
u32x32: TypeAlias = Expr
i8x256: TypeAlias = Expr
u8x256: TypeAlias = Expr
i16x128: TypeAlias = Expr
u16x128: TypeAlias = Expr
i32x64: TypeAlias = Expr
u32x64: TypeAlias = Expr
boolx128: TypeAlias = Expr
boolx64: TypeAlias = Expr
boolx32: TypeAlias = Expr
