"""What is remembered is what would be made: the same listing, in any order."""

from __future__ import annotations

import gc
from functools import partial

import pytest

from dovetail.target import program_builder as selecting
from dovetail.target.dsp import compile as packing
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.listing import PackedListing
from dovetail.target.dsp.target import dsp
from dovetail.tir.recent import Recent
from dovetail.tir.script import parse
from tests.target.test_build import HEAD


def kernel(added: int) -> str:
    """Two phases, of which kernels with other numbers have the first in common."""
    return (
        HEAD
        + f"""x: Buffer[u8, (512,), "tcm"], y: Buffer[u8, (512,), "tcm"]):
    t = alloc(u8, (512,), "tcm")
    for i in parallel(4):
        for l in vectorized(128):
            t[i * 128 + l] = max(x[i * 128 + l], 3)
    for j in parallel(4):
        for l in vectorized(128):
            y[j * 128 + l] = max(t[j * 128 + l], {added})
"""
    )


def text(added: int) -> str:
    return compile_program(dsp().build(parse(kernel(added))), dsp()).text


def test_common_phases_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget() -> None:
        monkeypatch.setattr(selecting, "_recent", Recent(8))
        monkeypatch.setattr(packing, "_recent", Recent(8))

    alone = []
    for added in (5, 9, 5):
        forget()
        alone.append(text(added))
    forget()
    assert [text(added) for added in (5, 9, 5)] == alone
    assert alone[0] == alone[2] != alone[1]
    phases = [dsp().build(parse(kernel(added))).phases for added in (5, 9)]
    assert phases[0][0].code is phases[1][0].code and phases[0][1].code is not phases[1][1].code


def test_a_function_does_not_know_its_place_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    first = """    for o in parallel(4):
        for l in vectorized(128):
            y[o * 128 + l] = min(x[o * 128 + l], 3)
    t = alloc"""
    later = kernel(5).replace("    t = alloc", first)

    def listing(text: str) -> PackedListing:
        return compile_program(dsp().build(parse(text)), dsp())

    one, other = listing(kernel(5)), listing(later)
    assert one.functions[1].nodes is other.functions[2].nodes
    assert [function.symbol for function in other.functions] == ["phase_0", "phase_1", "phase_2"]
    monkeypatch.setattr(packing, "_recent", Recent(8))
    assert listing(later).text == other.text


def test_code_is_made_without_cycles() -> None:
    """Workers look for garbage once in a thousand jobs: what is not kept must be free at once."""
    text(11)
    gc.collect()
    gc.disable()
    try:
        text(12)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_oldest_result_goes_first() -> None:
    made: list[int] = []

    def make(key: int) -> int:
        made.append(key)
        return -key

    recent = Recent[int](2)
    for key in (1, 2, 1, 3, 1, 2):
        assert recent(key, partial(make, key)) == -key
    assert made == [1, 2, 3, 2]


def test_a_failure_is_not_remembered() -> None:
    recent = Recent[int](2)
    with pytest.raises(ZeroDivisionError):
        recent("a", lambda: 1 // 0)
    assert recent("a", lambda: 1) == 1
