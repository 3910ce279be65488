"""Dovetail: this directory is the import package ``dovetail``, so ./tir is ``dovetail.tir``.

Besides the public functions it hands out the words of the script: ``from dovetail import Buffer,
block, cast, prim_func, spatial, u8``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import analyze as analyze
    from .driver import build as build
    from .driver import compile as compile
    from .driver import load as load
    from .driver import quantize as quantize
    from .driver import replay as replay
    from .driver import tune as tune
    from .driver.targets import dsp as dsp
    from .quant.recipe import Recipe as Recipe
    from .schedule.errors import ScheduleError as ScheduleError
    from .schedule.knobs import Point as Point
    from .schedule.knobs import Space as Space
    from .schedule.knobs import choice as choice
    from .schedule.knobs import flag as flag
    from .schedule.knobs import order as order
    from .schedule.knobs import split as split
    from .schedule.schedule import Schedule as Schedule
    from .schedule.templates.template import Estimate as Estimate
    from .schedule.templates.template import Template as Template
    from .target.machine_facts import Machine as Machine
    from .tir.interpret import interpret as interpret
    from .tir.passes.lift import lift as lift
    from .tir.script import *  # noqa: F403
    from .tir.script import prim_func as prim_func
    from .tir.script import show as show
    from .tir.stmt import PrimFunc as PrimFunc
    from .tuner.settings import Search as Search

_OWNERS = {
    ".driver": ("analyze", "build", "compile", "load", "quantize", "replay", "tune"),
    ".driver.targets": ("dsp",),
    ".quant.recipe": ("Recipe",),
    ".schedule.errors": ("ScheduleError",),
    ".schedule.knobs": ("Point", "Space", "choice", "flag", "order", "split"),
    ".schedule.schedule": ("Schedule",),
    ".schedule.templates.template": ("Estimate", "Template"),
    ".target.machine_facts": ("Machine",),
    ".tir.interpret": ("interpret",),
    ".tir.passes.lift": ("lift",),
    ".tir.script": ("prim_func", "show"),
    ".tir.stmt": ("PrimFunc",),
    ".tuner.settings": ("Search",),
}
HOMES = {name: home for home, names in _OWNERS.items() for name in names}

__all__ = [
    "Estimate", "Machine", "Point", "PrimFunc", "Recipe", "Schedule", "ScheduleError", "Search",
    "Space", "Template", "analyze", "build", "choice", "compile", "dsp", "flag", "interpret",
    "lift", "load", "order", "prim_func", "quantize", "replay", "show", "split", "tune",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Hand out the public names on first use, so that importing the package loads nothing."""
    from importlib import import_module

    home = HOMES.get(name)
    if home is None and not name.startswith("_") and name in _words():
        home = ".tir.script"
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)


def _words() -> list[str]:
    """The script's: operators of the IR, and what statements and types are written with."""
    from .tir.script import WORDS

    return WORDS


def __dir__() -> list[str]:
    """Names for completion."""
    return sorted({*globals(), *HOMES, *_words()})
