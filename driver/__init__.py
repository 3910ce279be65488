"""The public face: tune, compile, replay, load, build, quantize, analyze, command line and zoo.

The functions are in ``api.py``, ``built.py`` and ``quantized.py``; they are handed out on first
use, so that a worker process that needs one file of this folder does not import the others.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import compile as compile
    from .api import load as load
    from .api import replay as replay
    from .api import tune as tune
    from .built import build as build
    from .quantized import analyze as analyze
    from .quantized import quantize as quantize

_HOMES = {
    ".api": ("compile", "load", "replay", "tune"),
    ".built": ("build",),
    ".quantized": ("analyze", "quantize"),
}

__all__ = ["analyze", "build", "compile", "load", "quantize", "replay", "tune"]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(home, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
