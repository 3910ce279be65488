"""What a transfer brings or takes is not touched before it is awaited."""

from __future__ import annotations

import pytest

from dovetail.target.errors import SelectError
from dovetail.target.program import Address, Dma, Item, Loop, Phase, Program, WaitOp
from dovetail.target.races import require_waits
from tests.target.test_jit import V, load, store

START = Dma("t", Address("b", 256), Address("a"), 2, 128, 128, 256)


def refusal(*phases: list[Item] | Phase) -> str:
    program = Program("k", [], [p if isinstance(p, Phase) else Phase(p) for p in phases])
    try:
        require_waits(program)
    except SelectError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("touch", [load(V[0], "b", 384), store(V[0], "b", 256)])
def test_the_target_is_not_touched_before_the_wait(touch: Item) -> None:
    wanted = "transfers: k must wait for t before it touches b, but it does not"
    assert refusal([START], Phase([touch], ("p", 3)), [WaitOp("t")]) == wanted
    assert refusal([START, touch]) == wanted
    assert refusal([START], [Loop("i", 4, [touch])]) == wanted
    assert refusal([START], [WaitOp("t"), touch]) == ""
    assert refusal([START, START, WaitOp("t"), touch]) == wanted


def test_the_source_may_be_read_but_not_written() -> None:
    assert "before it touches a" in refusal([START, store(V[0], "a", 256)])
    assert refusal([START, load(V[0], "a", 256)]) == ""
    assert refusal([START, store(V[0], "a", 512)]) == ""


def test_what_lies_beside_the_target_is_free() -> None:
    assert refusal([START, load(V[0], "b"), load(V[1], "b", 512)]) == ""
    assert refusal([START], Phase([load(V[0], "b", p=128)], ("p", 2))) == ""
    assert refusal([START], Phase([load(V[0], "b", p=128)], ("p", 3))) != ""


def test_loops_wait_for_their_own_transfers() -> None:
    turn: list[Item] = [WaitOp("t"), load(V[0], "b", 256), START]
    assert refusal([START], [Loop("i", 4, turn)], [WaitOp("t")]) == ""
