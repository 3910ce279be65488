"""A template that a person brings: checked where it is used, and found again by worker processes.

template_of(mine, func, machine)      # its Template, or one sentence that says what is wrong
address(mine)                         # "kernels.templates:mine"; None where workers cannot
                                      # import it: __main__, notebooks, functions in functions
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from importlib.machinery import PathFinder

from ..options.checks import shown
from ..schedule.templates.template import Template
from ..target.machine_facts import Machine
from ..tir.stmt import PrimFunc
from .errors import InputError

Make = Callable[[PrimFunc, Machine], Template | None]


def template_of(make: Make, func: PrimFunc, machine: Machine) -> Template:
    """The template that the function makes for a kernel, which it must take."""
    name = title(make)
    try:
        made: object = make(func, machine)
    except Exception as error:
        text = " ".join(str(error).split())
        raise InputError(
            f"template: {name} must run for the kernel {func.name}, "
            f"but raised {type(error).__name__}: {text}"
        ) from error
    if made is None:
        raise InputError(f"template: {name} must take the kernel {func.name}, but gave None for it")
    if not isinstance(made, Template):
        raise InputError(f"template: {name} must give a Template or None, but gave {shown(made)}")
    if next(iter(made.space), None) is None:
        raise InputError(f"template: the space of {name} must have a point, but it is empty")
    return made


def title(make: Make) -> str:
    """The name of the function, for messages."""
    return getattr(make, "__qualname__", type(make).__name__)


def address(make: Make) -> str | None:
    """``module:name``, if a fresh process that has our sys.path finds the same function there."""
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", "<")
    if module is None or module == "__main__" or "<" in name or module not in sys.modules:
        return None
    first = module.partition(".")[0]
    spec = PathFinder.find_spec(first, sys.path)
    here = sys.modules[first]
    if spec is None or spec.origin != getattr(here, "__file__", None):
        return None
    try:
        return f"{module}:{name}" if found(f"{module}:{name}") is make else None
    except AttributeError:
        return None


def found(place: str) -> Make:
    """The function at an address."""
    module, _, name = place.partition(":")
    make: Make = reduce(getattr, name.split("."), import_module(module))  # type: ignore[assignment]
    return make
