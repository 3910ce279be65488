"""Errors of the targets: one sentence each."""

from __future__ import annotations


class SelectError(ValueError):
    """A kernel has no instructions on the target; the message says which rule is in the way."""
