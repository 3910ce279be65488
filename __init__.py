"""Dovetail: this directory is the import package ``dovetail``, so ./tir is ``dovetail.tir``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import compile as compile
    from .driver import load as load
    from .driver import replay as replay
    from .driver import tune as tune
    from .target.dsp.machine import dsp as dsp
    from .tir.script import prim_func as prim_func

__all__ = ["compile", "dsp", "load", "prim_func", "replay", "tune"]

HOMES = {"dsp": ".target.dsp.machine", "prim_func": ".tir.script"}


def __getattr__(name: str) -> object:
    """Hand out the public names on first use, so that importing the package loads nothing."""
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(HOMES.get(name, ".driver"), __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
