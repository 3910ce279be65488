"""Passes whose results are verified: in all tests, and wherever DOVETAIL_VERIFY is set."""

from __future__ import annotations

import numpy as np
import pytest

from dovetail.tir.passes import checked
from dovetail.tir.passes.checked import kept
from dovetail.tir.passes.flatten import flatten_buffers
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.verify import VerifyError

WRONG = parse("""
def f(x: Buffer[u8, (8,)]):
    for i in range(9):
        x[i] = 1
""")


@checked.checked
def spoil(func: PrimFunc) -> PrimFunc:
    return WRONG


def test_a_pass_that_breaks_a_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spoil.__name__ == "spoil"
    monkeypatch.setenv(checked.VARIABLE, "1")
    with pytest.raises(VerifyError) as caught:
        spoil(WRONG)
    assert str(caught.value) == (
        "spoil: its result must keep the rules of the IR, but store: axis 0 of x must be indexed "
        "within 0..7, but got 0..8\n"
        "    x[i] = 1        <- here"
    )
    for value in ("", "0"):
        monkeypatch.setenv(checked.VARIABLE, value)
        assert spoil(WRONG) is WRONG
    monkeypatch.delenv(checked.VARIABLE)
    assert spoil(WRONG) is WRONG


def test_every_pass_is_checked() -> None:
    from dovetail.target.pipeline import PASSES
    from dovetail.tir.passes.lift import lift

    assert all(hasattr(run, "__wrapped__") for run in (lift, *PASSES))


def test_flat_buffers_have_flat_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checked.VARIABLE, "1")
    func = parse("""
def f(w: Buffer[u8, (2, 4)], x: Buffer[u8, (2, 4)]):
    for i in range(2):
        copy(x[i:i + 1, 0:4], w[i:i + 1, 0:4])
""")
    weights = np.arange(8, dtype=np.uint8).reshape(2, 4)
    flat = flatten_buffers(PrimFunc(func.name, func.params, func.body, {"w": weights}))
    assert flat.constants["w"].shape == flat.params[0].shape == (8,)
    kept(flat, "flatten_buffers")  # the boxes of copies stay as they were
