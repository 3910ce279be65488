"""Verifies the function that a pass gives, under ``DOVETAIL_VERIFY=1``.

@checked
def unroll_loops(func: PrimFunc) -> PrimFunc: ...

A pass that breaks a rule of the IR then fails at once, by name, and not where its code is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from ..places import ALIGN
from ..stmt import PrimFunc

VARIABLE = "DOVETAIL_VERIFY"

P = ParamSpec("P")
Pass = Callable[Concatenate[PrimFunc, P], PrimFunc]


def checked(run: Pass[P]) -> Pass[P]:
    """``run``, whose result must keep the rules of the IR where ``DOVETAIL_VERIFY`` is set."""

    @wraps(run)
    def passed(func: PrimFunc, /, *args: P.args, **kwargs: P.kwargs) -> PrimFunc:
        return kept(run(func, *args, **kwargs), run.__name__)

    return passed


def verifying() -> bool:
    """Whether functions are verified between passes."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def kept(func: PrimFunc, maker: str) -> PrimFunc:
    """``func`` itself; VerifyError where it breaks a rule and ``DOVETAIL_VERIFY`` is set."""
    if not verifying():
        return func
    from ..verify import VerifyError, verify  # which simplifies, by a pass

    try:
        return verify(func, ALIGN)
    except VerifyError as fault:
        sentence = f"{maker}: its result must keep the rules of the IR, but {fault.sentence}"
        raise VerifyError(sentence, fault.place) from None
