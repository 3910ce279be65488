"""MODEL on the command line: a zoo name, the path of a ``.pt2``, or ``file.py:function``.

find("resnet8")                    # Source(model=ResNet8(), inputs=(x,), calibration=[...])
find("net.py:build")               # build() gives (module, inputs) or (module, inputs, batches)
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import zoo
from .errors import InputError

SAVED = ".dovetail"


@dataclass(frozen=True, slots=True)
class Source:
    """A model with what it is called, its example inputs and, if there are, calibration batches."""

    name: str
    model: object
    inputs: object = None
    calibration: object = None


def find(name: str) -> Source:
    """The model that the command line names."""
    if name.endswith(".pt2"):
        return Source(name, Path(name))
    if ":" in name:
        return _made(name, called(name, "model"))
    if name not in zoo.names():
        raise InputError(
            f"model: must be one of the zoo ({', '.join(zoo.names())}), the path of a .pt2 or "
            f"file.py:function, but got {name!r}"
        )
    model, inputs = zoo.build(name)
    return Source(name, model, inputs, zoo.calibration(name))


def _made(name: str, found: object) -> Source:
    """What the function gave, held to its contract."""
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        raise InputError(
            f"model: {name} must return (module, inputs_tuple) or (module, inputs_tuple, "
            f"calibration), but it returned {type(found).__name__}"
        )
    return Source(name, *found)


def called(name: str, what: str) -> Any:
    """What ``file.py:function`` returns."""
    file, _, function = name.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{what}: {name} must name a function in a Python file, but no {file} is")
    made = getattr(_module(path, what), function, None)
    if not callable(made):
        raise InputError(f"{what}: {file} must have a function {function!r}, but it has none")
    return _guarded(made, f"{what}: {name}")


def _module(path: Path, what: str) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent))
    loader = spec.loader
    _guarded(lambda: loader.exec_module(module), f"{what}: {path}")
    return module


def _guarded(run: Callable[[], object], what: str) -> Any:
    """The result, or one sentence about what the user's code raised."""
    try:
        return run()
    except Exception as error:
        text = " ".join(str(error).split())
        raise InputError(f"{what} must run, but raised {type(error).__name__}: {text}") from error
