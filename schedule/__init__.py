"""Schedules: primitives with legality checks, traces, knob spaces."""
