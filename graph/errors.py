"""The errors of the importers: one sentence with what was met, the rule, and the mend."""

from __future__ import annotations


class UnsupportedModel(ValueError):
    """The model has operators, shapes, types or weights that cannot be imported."""


class Unsupported(Exception):
    """Raised while an ATen call is read: this use cannot be imported, perhaps for a reason."""
