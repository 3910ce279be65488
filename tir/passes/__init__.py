"""Passes: functions from PrimFunc to PrimFunc, named by a verb."""
