"""Shifted sums of bytes in words: every lane is the interpreter's, in halfwords where they do."""

from __future__ import annotations

from random import Random

import pytest

from dovetail.tir.passes.lift import lift
from dovetail.tir.script import parse
from tests.target.test_lanes import holds

WORDS = ("vmpyieoh", "vaddw", "vaddw_dv", "vasrw")


def kernel(seed: int) -> str:
    """A sum of one to three operands times numbers, shifted, offset, clamped or cast."""
    rng = Random(seed)
    most = rng.choice((100, 127, 4000, 32767, 70000))
    terms = []
    for name in "abc"[: rng.randint(1, 3)]:
        zero, factor = rng.choice((0, rng.randint(-128, 255))), rng.randint(-most, most)
        left = rng.choice((0, 0, 6))
        terms.append(f"((cast(i32, {name}[l]) - {zero}) << {left}) * {factor}")
    shift = rng.randint(1, 23)
    half = rng.choice((0, 1 << shift - 1, rng.randint(-5000, 5000)))
    value = f"(({' + '.join(terms)} + {half}) >> {shift}) + {rng.randint(-300, 300)}"
    to = rng.choice(("u8", "u8", "i8", "i16", "i32"))
    low, high = {"u8": (0, 255), "i8": (-128, 127)}.get(to, (-32768, 32767))
    if rng.random() < 0.8:
        value = f"max(min({value}, {high - rng.choice((0, 5))}), {low + rng.choice((0, 3))})"
    return f"""
def f(a: Buffer[u8, (256,)], b: Buffer[{rng.choice(("u8", "i8"))}, (256,)],
      c: Buffer[u8, (256,)], y: Buffer[{to}, (256,)]):
    for l in vectorized(256):
        y[l] = cast({to}, {value})
"""


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("lifted", [False, True])
def test_random_sums(part: int, lifted: bool) -> None:
    for seed in range(part, 160, 4):
        func = parse(kernel(seed))
        holds(lift(func) if lifted else func, func)


def rows(value: str) -> list[str]:
    func = parse(f"""
def f(a: Buffer[u8, (128,)], b: Buffer[u8, (128,)], y: Buffer[u8, (128,)]):
    for l in vectorized(128):
        y[l] = cast(u8, max(min({value}, 255), 0))
""")
    return holds(lift(func), func)


SUM = "((cast(i32, a[l]) - 7) * 9616 + (cast(i32, b[l]) - 19) * {} + 8192) >> 14"


def test_a_quantized_sum_needs_no_words() -> None:
    found = rows(f"({SUM.format(7312)}) + 12")
    assert not {*WORDS} & {*found}
    assert found.count("vasrh_acc") == 2


def test_products_that_halfwords_cannot_hold_are_made_by_them() -> None:
    found = rows("((cast(i32, a[l]) - 7) * 29616 + cast(i32, b[l]) * 32767 + 5) >> 15")
    assert "vmpyieoh" not in found
