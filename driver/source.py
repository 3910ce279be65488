"""MODEL on the command line: a zoo name, the path of a ``.pt2``, or a name in a Python file.

find("resnet8")                    # Source(model=ResNet8(), inputs=(x,), calibration=[...])
find("net.py:build")               # build() gives (module, inputs) or (module, inputs, batches)
find("blur.py:blur")               # a prim_func, or a function that gives one
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tir.stmt import PrimFunc
from . import zoo
from .errors import InputError

if TYPE_CHECKING:
    from ..quant.recipe import Recipe
    from .tuned import Tuned

SAVED = ".dovetail"
VARIABLE, KEYWORDS = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model with its name, its example inputs and, if there are any, calibration batches; or a
    person's own kernel with its name."""

    name: str
    model: object
    inputs: object = None
    calibration: object = None

    @property
    def kernel(self) -> PrimFunc | None:
        """The kernel, if it is one."""
        return self.model if isinstance(self.model, PrimFunc) else None


def find(name: str) -> ModelSource:
    """The model that the command line names."""
    if name.endswith(".pt2"):
        return ModelSource(name, Path(name))
    if ":" in name:
        return _made(name, _value(name))
    if name not in zoo.names():
        near = get_close_matches(name.lower(), zoo.names(), 1)
        raise InputError(
            f"model: must be one of the zoo ({', '.join(zoo.names())}), the path of a .pt2 or "
            f"file.py:name, but got {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"
        )
    model, inputs = zoo.build(name)
    return ModelSource(name, model, inputs, zoo.calibration(name))


def saved(path: str, log: Path | None, recipe: Recipe) -> Tuned:
    """The model of a file that ``Tuned.save`` wrote; options that came too late are refused."""
    from .store import load

    if log is not None:
        raise InputError("log: a saved model has its points already, but --log was given")
    require_untouched(recipe, "a saved model is quantized already")
    return load(path)


def require_untouched(recipe: Recipe | None, why: str) -> None:
    """InputError for an option of quantization where nothing is quantized."""
    for word in recipe.logged() if recipe else ():
        raise InputError(f"{word}: {why}, but --{word} was given")


def _made(name: str, found: object) -> ModelSource:
    """A kernel or a function's result as a model, after a check of its form."""
    if isinstance(found, PrimFunc):
        return ModelSource(name, found)
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        raise InputError(
            f"model: {name} must return (module, inputs) or (module, inputs, calibration), or a "
            f"prim_func, but it returned {type(found).__name__}"
        )
    model, inputs, *batches = found
    return ModelSource(
        name, model, inputs, guarded(batches[0], f"model: {name}") if batches else None
    )


def _value(name: str) -> object:
    """The prim_func of this name, or the result of the function."""
    found = named(name, "model")
    if isinstance(found, PrimFunc):
        return found
    if needed := _needed(found):
        raise InputError(
            f"model: {name} must be a prim_func or need no arguments, but it needs "
            f"{', '.join(needed)}; a kernel is decorated with @dovetail.prim_func"
        )
    return called(name, "model")


def _needed(function: object) -> list[str]:
    """The parameters without which a function cannot be called."""
    try:
        found = signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
    empty = Parameter.empty
    return [p.name for p in found if p.default is empty and p.kind not in (VARIABLE, KEYWORDS)]


def called(name: str, what: str) -> Any:
    """The result of a call of ``file.py:function``."""
    function = named(name, what)
    with _foreign(f"{what}: {name}"):
        return function()


def named(name: str, what: str) -> Any:
    """The function or prim_func that ``file.py:name`` names."""
    file, _, attribute = name.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{what}: {name} must name a function in a Python file, but no {file} is")
    found = getattr(_module(path, what), attribute, None)
    if not callable(found) and not isinstance(found, PrimFunc):
        has = "none" if found is None else f"{type(found).__name__} of that name"
        raise InputError(f"{what}: {file} must have a function {attribute!r}, but it has {has}")
    return found


def _module(path: Path, what: str) -> object:
    """The file as a module, which runs once."""
    loaded = sys.modules.get(path.stem)
    if getattr(loaded, "__file__", None) == str(path.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))
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
