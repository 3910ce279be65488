"""One public function for models and for kernels: what it is given decides.

    @or_kernel(own.compile)
    def compile(model: object, example_inputs: object = None) -> Tuned: ...

Each kind keeps its own arguments and result, for people and for type checkers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from types import FunctionType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from ..schedule.schedule import Schedule
from ..tir.stmt import PrimFunc
from .errors import InputError

K = ParamSpec("K")
M = ParamSpec("M")
OfKernel = TypeVar("OfKernel", covariant=True)
OfModel = TypeVar("OfModel", covariant=True)


class Either(Protocol[K, OfKernel, M, OfModel]):
    """A function for kernels, which are tried first, and for models."""

    @overload
    def __call__(self, *args: K.args, **kwargs: K.kwargs) -> OfKernel: ...

    @overload
    def __call__(self, *args: M.args, **kwargs: M.kwargs) -> OfModel: ...


def or_kernel(
    of_kernel: Callable[K, OfKernel],
) -> Callable[[Callable[M, OfModel]], Either[K, OfKernel, M, OfModel]]:
    """A function of models that hands a PrimFunc in its argument ``model`` to another one."""

    def enter(of_model: Callable[M, OfModel]) -> Either[K, OfKernel, M, OfModel]:
        place = list(signature(of_model).parameters).index("model")

        @wraps(of_model)
        def either(*args: Any, **kwargs: Any) -> Any:
            model = args[place] if len(args) > place else kwargs.get("model")
            return (of_kernel if _is_kernel(model) else of_model)(*args, **kwargs)

        return either

    return enter


def _is_kernel(model: object) -> bool:
    if isinstance(model, FunctionType):
        raise InputError(
            f"model: {model.__name__} must be a prim_func to be a kernel, but is a function; "
            "decorate it with @dovetail.prim_func"
        )
    if isinstance(model, Schedule):
        raise InputError("model: must be without a schedule; dovetail.build takes a Schedule")
    return isinstance(model, PrimFunc)
