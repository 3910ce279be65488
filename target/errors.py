"""Errors of the targets: one sentence each."""

from __future__ import annotations


class MachineError(ValueError):
    """A field of a machine has a value that no such machine can have."""


class SelectError(ValueError):
    """A kernel has no instructions on the target; the message says which rule is in the way."""


class MissingTool(RuntimeError):
    """A program that a target's emulator needs is not installed."""
