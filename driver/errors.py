"""What a user can get wrong, as one sentence: the command line prints it and ends with code 2."""

from __future__ import annotations

from ..options.checks import InputError

__all__ = ["InputError", "user_errors"]


def user_errors() -> tuple[type[Exception], ...]:
    """The classes of errors that a user's input causes, not a fault of our own."""
    from ..graph.errors import UnsupportedModel
    from ..quant.errors import CalibrationError, QuantizationError
    from ..target.errors import MachineError, MissingTool, SelectError
    from ..tuner.records import LogError
    from ..tuner.task import TuneError
    from .zoo import UnknownModel

    return (
        InputError,
        UnsupportedModel,
        CalibrationError,
        QuantizationError,
        MachineError,
        MissingTool,
        SelectError,
        LogError,
        TuneError,
        UnknownModel,
    )
