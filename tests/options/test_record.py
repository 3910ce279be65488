"""Records of options: a row says all of a field, and every use reads the row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from dovetail.options import checks
from dovetail.options.checks import InputError
from dovetail.options.record import Among, Logged, Options, at_least, option
from dovetail.options.registry import Registry

COLORS = Registry[int]()
COLORS.row("red", "like blood")(1)
COLORS.row("green", "like grass")(2)


@dataclass(frozen=True, slots=True)
class Paint(Options):
    """A record with a field of each kind."""

    subject = "paint: {}"
    color: str = option("red", Among(COLORS), "What it looks like.")
    coats: int = option(2, at_least(1), "How many.", word="layers")
    seed: int = option(0, checks.whole, "Which grain.", logged=Logged.ALWAYS)
    quiet: bool = option(False, checks.flag, "Whether it says nothing.", logged=Logged.NEVER)


def refusal(**given: Any) -> str:
    with pytest.raises(InputError) as caught:
        Paint(**given)
    return str(caught.value)


def test_values_are_checked_and_plain() -> None:
    made = Paint("green", np.int64(3))  # type: ignore[arg-type]
    assert type(made.coats) is int and made == Paint("green", coats=3)
    assert refusal(color="blue") == "paint: color must be one of red, green, but got 'blue'"
    assert refusal(coats=0) == (
        "paint: coats (--layers) must be a whole number of at least 1, but got 0"
    )
    with pytest.raises(InputError, match=r"paint: coats \(--layers\) must be"):
        replace(made, coats=-1)


def test_a_row_says_all_of_a_field() -> None:
    rows = list(Paint.rows())
    assert [row.name for row in rows] == ["color", "coats", "seed", "quiet"]
    assert [row.word for row in rows] == ["color", "layers", "seed", "quiet"]
    assert [row.kind for row in rows] == [str, int, int, bool]
    assert [row.default for row in rows] == ["red", 2, 0, False]
    assert rows[0].help == "What it looks like. red: like blood; green: like grass."
    assert rows[1].help == "How many."


def test_logs_say_what_was_changed() -> None:
    assert Paint().logged() == {"seed": 0}
    assert Paint("green", 3, 7, quiet=True).logged() == {"color": "green", "layers": 3, "seed": 7}
    assert list(Paint().as_dict()) == ["color", "layers", "seed", "quiet"]


def test_what_a_log_says_is_read_back() -> None:
    for made in (Paint(), Paint("green", 3, 7)):
        assert Paint.read("log: the paint", made.logged()) == made
    with pytest.raises(InputError) as caught:
        Paint.read("log: the paint", {"gloss": 1})
    assert str(caught.value) == (
        "log: the paint must have no fields but color, layers, seed, quiet, but got {'gloss': 1}"
    )
    with pytest.raises(InputError, match="log: the paint must have no fields but"):
        Paint.read("log: the paint", "red")


def test_another_value_is_no_record() -> None:
    assert Paint.require("paint:", Paint("green")).color == "green"
    with pytest.raises(InputError) as caught:
        Paint.require("paint:", "green")
    assert str(caught.value) == "paint: must be a Paint, but got 'green'"


def test_a_record_can_have_more_rows() -> None:
    @dataclass(frozen=True, slots=True)
    class Varnish(Paint):
        gloss: bool = option(True, checks.flag, "Whether it shines.")

    assert Varnish(gloss=False).logged() == {"seed": 0, "gloss": False}
    with pytest.raises(InputError, match="paint: gloss must be True or False, but got 'no'"):
        Varnish(gloss="no")  # type: ignore[arg-type]


def test_a_registry_keeps_its_order() -> None:
    assert list(COLORS) == ["red", "green"] and len(COLORS) == 2 and COLORS["green"] == 2
    assert "blue" not in COLORS
    with pytest.raises(AssertionError):
        COLORS.row("red", "again")
