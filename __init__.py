"""Dovetail: this directory is the import package ``dovetail``, so ./tir is ``dovetail.tir``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import build as build
    from .driver import compile as compile
    from .driver import load as load
    from .driver import replay as replay
    from .driver import tune as tune
    from .schedule.errors import ScheduleError as ScheduleError
    from .schedule.knobs import Space as Space
    from .schedule.knobs import choice as choice
    from .schedule.knobs import flag as flag
    from .schedule.knobs import order as order
    from .schedule.knobs import split as split
    from .schedule.schedule import Schedule as Schedule
    from .schedule.templates.template import Estimate as Estimate
    from .schedule.templates.template import Template as Template
    from .target.dsp.machine import dsp as dsp
    from .tir.interpret import interpret as interpret
    from .tir.passes.lift import lift as lift
    from .tir.script import prim_func as prim_func
    from .tir.script import show as show

__all__ = [
    "Estimate", "Schedule", "ScheduleError", "Space", "Template", "build", "choice", "compile",
    "dsp", "flag", "interpret", "lift", "load", "order", "prim_func", "replay", "show", "split",
    "tune",
]  # fmt: skip

_OWNERS = {
    ".driver": ("build", "compile", "load", "replay", "tune"),
    ".schedule.errors": ("ScheduleError",),
    ".schedule.knobs": ("Space", "choice", "flag", "order", "split"),
    ".schedule.schedule": ("Schedule",),
    ".schedule.templates.template": ("Estimate", "Template"),
    ".target.dsp.machine": ("dsp",),
    ".tir.interpret": ("interpret",),
    ".tir.passes.lift": ("lift",),
    ".tir.script": ("prim_func", "show"),
}
HOMES = {name: home for home, names in _OWNERS.items() for name in names}


def __getattr__(name: str) -> object:
    """Hand out the public names on first use, so that importing the package loads nothing."""
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
