"""Roles are filled by what rows mean, and only a target says how its rows are called."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dovetail
from dovetail.target.dsp.decorators import VECTOR
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.rows import roles, rows
from dovetail.target.errors import SelectError
from dovetail.target.instruction import Register
from dovetail.target.roles import (
    Roles,
    behind,
    differ,
    first_bytes,
    opposite,
    shared_bits,
    turn,
)
from dovetail.tir.expr import const, var
from dovetail.tir.types import boolean, i8, i32, u8, u16, vector

ROOT = Path(dovetail.__file__).parent
BYTES, WORD = vector(i8, VECTOR), const(3, i32)
A, B = (var(name, BYTES) for name in "ab")
P, Q = (var(name, vector(boolean, VECTOR)) for name in "pq")


@pytest.mark.parametrize(
    ("role", "operands", "row"),
    [
        (turn, (A, WORD), "vror"),
        (behind, (A, B, WORD), "vlalignb"),
        (first_bytes, (WORD,), "pred_scalar2"),
        (differ, (P, Q), "pred_xor"),
        (opposite, (P,), "pred_not"),
        (shared_bits, (A, WORD), "vandvrt"),
    ],
)
def test_rows_fill_roles_by_their_bodies(role: object, operands: tuple[object], row: str) -> None:
    call = roles(66).call(role, BYTES, *operands)  # type: ignore[arg-type]
    assert call is not None
    assert (call.op, call.attr, call.args) == ("call", row, operands)


def test_what_moves_bytes_is_read_from_the_body() -> None:
    shuffles = roles(66).shuffles
    places = {move.places: move.call.row.name for move in shuffles.moves}
    assert places[-1, 0] == "vshufoeb"  # in any pipe, unlike vshuffvdd_x1
    assert places[-1, 5] == "vshuffvdd_x32"
    assert places[-1, 1, 2, 3, 4, 5, 6] == "vshuffvdd_h"
    assert places[-1, 6, 5, 4, 3, 2] == "vdealvdd_w"
    assert places[0, 6, 5, 4, 3, 2, 1] == "vdealb"
    deals = {size: move.call.row.name for size, move in roles(66).deals.items()}
    assert deals == {4: "vdealvdd_w", 32: "vdealvdd_32", 64: "vdealvdd_64"}


def test_operands_that_a_row_fixes_come_with_the_call() -> None:
    move = roles(66).shuffles.exchange(4)
    assert move is not None
    assert move.call(vector(i8, 2 * VECTOR), A, B).args == (A, B, const(16, i32))


def test_accesses_copies_and_splats_are_roles_too() -> None:
    found = roles(66)
    assert [found.load(kind, False).name for kind in (u8, i8, u16, i32)] == [
        "loadrub", "loadrb", "loadruh", "loadri"]  # fmt: skip
    assert [found.load(BYTES, aligned).name for aligned in (True, False)] == ["vmem", "vmemu"]
    assert [found.store(kind, True).name for kind in (u8, BYTES)] == ["storerb", "vmem_store"]
    assert [found.move(r).name for r in (Register.SCALAR, Register.DOUBLE, Register.PREDICATE)] == [
        "tfr", "tfrp", "pred_move"]  # fmt: skip
    assert [found.splat(bits).name for bits in (8, 16, 32)] == ["lvsplatb", "lvsplath", "lvsplatw"]
    assert (found.constant().name, found.combine().name) == ("tfrsi", "combinew")
    assert found.add_immediate().name == "addi"


def test_a_role_that_no_row_fills() -> None:
    table = {n: row for n, row in rows(66).items() if n not in ("vror", "addi", "vmem", "vmemu")}
    few = Roles(table, VECTOR, lambda row: None)
    assert few.call(turn, BYTES, A, WORD) is None
    assert few.shuffles.exchange(0) is None
    with pytest.raises(SelectError) as raised:
        few.add_immediate()
    assert str(raised.value) == "select: the machine has no row that means plus_number"
    with pytest.raises(SelectError) as raised:
        few.load(BYTES, True)
    assert str(raised.value) == "select: the machine has no row that loads i8x128"


def test_row_names_stand_in_their_target_alone() -> None:
    parts = ("tir", "target", "schedule", "tuner", "graph", "quant", "driver")
    files = [path for part in parts for path in (ROOT / part).rglob("*.py")]
    for path in files:
        if path.is_relative_to(ROOT / "target" / "dsp"):
            continue
        text = path.read_text()
        words = {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)}
        assert not words & TABLE.keys(), path
