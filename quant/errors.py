"""The errors of quantization: one clear sentence each, with the mend where there is one."""

from __future__ import annotations


class CalibrationError(ValueError):
    """The calibration data cannot be used: empty, of a wrong shape, or not finite."""


class QuantizationError(ValueError):
    """The float graph has no integer form that keeps the integer contract."""
