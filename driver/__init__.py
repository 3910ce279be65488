"""The public face: tune, compile, replay, load, build, the command line and the model zoo.

The functions are in ``api.py`` and ``built.py``; they are handed out on first use, so that a worker
process that needs one file of this folder does not import the others.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import compile as compile
    from .api import load as load
    from .api import replay as replay
    from .api import tune as tune
    from .built import build as build

__all__ = ["build", "compile", "load", "replay", "tune"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(".built" if name == "build" else ".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
