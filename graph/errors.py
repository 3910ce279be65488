"""The error of the importers: one sentence with what was met, the rule, and the mend."""

from __future__ import annotations


class UnsupportedModel(ValueError):
    """The model has operators, shapes, types or weights that cannot be imported."""
