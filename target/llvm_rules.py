"""All lowerings of operators: ``Lowering`` comes from here, so that its table is full."""

from __future__ import annotations

from . import llvm_lanes, llvm_lookup, llvm_ops, llvm_sums  # noqa: F401  (they fill the table)
from .llvm import Lowering

__all__ = ["Lowering"]
