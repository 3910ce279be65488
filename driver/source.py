"""MODEL on the command line: a zoo name, the path of a ``.pt2``, or ``file.py:function``.

find("resnet8")                    # Source(model=ResNet8(), inputs=(x,), calibration=[...])
find("net.py:build")               # build() gives (module, inputs) or (module, inputs, batches)
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from . import zoo
from .errors import InputError

SAVED = ".dovetail"


@dataclass(frozen=True, slots=True)
class Source:
    """A model with its name, its example inputs and, if there are any, calibration batches."""

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
        near = get_close_matches(name.lower(), zoo.names(), 1)
        raise InputError(
            f"model: must be one of the zoo ({', '.join(zoo.names())}), the path of a .pt2 or "
            f"file.py:function, but got {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"
        )
    model, inputs = zoo.build(name)
    return Source(name, model, inputs, zoo.calibration(name))


def _made(name: str, found: object) -> Source:
    """The function's result as a model, after a check of its form."""
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        raise InputError(
            f"model: {name} must return (module, inputs) or (module, inputs, calibration), but it "
            f"returned {type(found).__name__}"
        )
    model, inputs, *batches = found
    return Source(name, model, inputs, guarded(batches[0], f"model: {name}") if batches else None)


def called(name: str, what: str) -> Any:
    """The result of a call of ``file.py:function``."""
    file, _, function = name.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{what}: {name} must name a function in a Python file, but no {file} is")
    module = _module(path, what)
    made = getattr(module, function, None)
    if not callable(made):
        raise InputError(f"{what}: {file} must have a function {function!r}, but it has none")
    with _foreign(f"{what}: {name}"):
        return made()


def _module(path: Path, what: str) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent))
    with _foreign(f"{what}: {path}"):
        spec.loader.exec_module(module)
    return module


def guarded(batches: object, what: str) -> object:
    """Batches that the user's code makes one by one; an object that is no iterable stays."""
    if isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable):
        return batches
    return _each(batches, what)


def _each(batches: Iterable[object], what: str) -> Iterator[object]:
    with _foreign(what):
        steps = iter(batches)
    while True:
        with _foreign(what):
            try:
                batch = next(steps)
            except StopIteration:
                return
        yield batch


@contextmanager
def _foreign(what: str) -> Iterator[None]:
    """Runs the user's code: an exception becomes one sentence, its prints go to standard error."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{what} must run, but raised {type(error).__name__}: {text}") from error
