"""Quantization: affine arithmetic, observers, calibration, integer graphs."""
