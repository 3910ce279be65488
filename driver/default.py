"""The target where none is asked for; to say its name loads none of its code."""

from __future__ import annotations

TARGET = "dsp"
