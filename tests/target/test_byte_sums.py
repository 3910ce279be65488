"""Sums of bytes times numbers: every lane is the interpreter's, by few multipliers."""

from __future__ import annotations

from random import Random

import pytest

from dovetail.target.dsp.target import dsp
from dovetail.tir.script import parse
from tests.target.test_lanes import holds

FACTORS = ((1,), (1, -1), (1, 2, 1, 4, 6), range(-128, 128), range(256), range(-40000, 40000))


def drawn(rng: Random, loads: list[str], kind: str) -> str:
    """A sum of the loads in a random order, put together at random."""
    parts = []
    factors = rng.choice(FACTORS)
    for load in loads:
        factor = rng.choice(factors)
        wide = f"cast({kind}, {load})"
        if kind == "i16" or factor >= 0:
            low = -(1 << 15) if kind == "i16" else 0
            factor = min(max(factor, low), 32767)
            parts.append(wide if factor == 1 else f"{wide} * {factor}")
    while len(parts) > 1:
        a, b = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(f"({a} {rng.choice('++-')} {b})")
    scale = rng.choice(("", " * 3", " << 2", " + 77"))
    return f"(({parts[0]}){scale})" if parts else f"cast({kind}, {loads[0]})"


def kernel(seed: int) -> str:
    """Rows of an image at once, and another operand beside them."""
    rng = Random(seed)
    rows, high, wide = (
        rng.choice((1, 1, 2, 3)),
        rng.choice((1, 2, 3, 5)),
        rng.choice((1, 2, 3, 4, 5)),
    )
    lanes, kind = rng.choice((128, 256)), rng.choice(("u16", "i16"))
    source = rng.choice(("u8", "u8", "u8", "i8")) if kind == "i16" else "u8"
    places = [(i, j) for i in range(high) for j in range(wide)]
    some = places if rng.random() < 0.6 else rng.sample(places, rng.randint(1, len(places)))
    loads = [f"x[h + {i}, l + {j}]" for i, j in some]
    loads += ["w[h, l]"] * rng.choice((0, 0, 1))
    value = drawn(rng, loads, kind)
    if rng.random() < 0.2:
        value = f"{value} + z[h, l]"
    to = rng.choice((kind, kind, "u8", "i8"))
    if to != kind:
        shift = f"rounding_shr({value}, {rng.randint(1, 9)})"
        value = f"{rng.choice(('sat_cast', 'cast'))}({to}, {shift})"
    return f"""
def f(x: Buffer[{source}, ({rows + high}, {lanes + wide})], w: Buffer[i8, ({rows}, {lanes})],
      z: Buffer[{kind}, ({rows}, {lanes})], y: Buffer[{to}, ({rows}, {lanes})]):
    for h in unrolled({rows}):
        for l in vectorized({lanes}):
            y[h, l] = {value}
"""


@pytest.mark.parametrize("part", range(4))
def test_random_sums(part: int) -> None:
    for seed in range(part, 160, 4):
        holds(parse(kernel(seed)))


def multipliers(value: str, rows: int = 1) -> int:
    """Multipliers that ``rows`` registers of bytes take."""
    func = parse(f"""
def f(x: Buffer[u8, ({rows + 4}, 256)], w: Buffer[u8, (128,)], y: Buffer[u8, ({rows}, 128)]):
    for h in unrolled({rows}):
        for l in vectorized(128):
            y[h, l] = {value}
""")
    table = dsp().rows
    units = [dsp().unit(table[name]) for name in holds(func) if "splat" not in name]
    return sum({"VX": 1, "VX_DV": 2}.get(unit, 0) for unit in units)


def test_three_neighbours_take_four_multipliers() -> None:
    row = "cast(i16, x[h, l]) * 3 + cast(i16, x[h, l + 1]) * -7 + cast(i16, x[h, l + 2]) * 11"
    assert multipliers(f"sat_cast(u8, rounding_shr({row}, 4))") == 4


def test_rows_that_several_results_need_are_made_once() -> None:
    row = "({} + {} * 2 + {})".format(*(f"cast(i16, x[h + {{0}}, l + {j}])" for j in range(3)))
    total = f"{row.format(0)} + {row.format(1)} * 2 + {row.format(2)}"
    assert multipliers(f"cast(u8, rounding_shr({total}, 4))", 4) == 6 * 4


def test_the_order_of_a_sum_does_not_matter() -> None:
    pixel = "cast(i16, x[h + {}, l + {}])".format
    columns = [f"({pixel(0, j)} + {pixel(1, j)} * 2 + {pixel(2, j)})" for j in range(3)]
    down = "{} + {} * 2 + {}".format(*columns)
    assert multipliers(f"cast(u8, rounding_shr({down}, 4))", 4) == 6 * 4


def test_weights_above_127_are_those_of_bytes_without_sign() -> None:
    value = "cast(u16, x[h, l]) * 77 + cast(u16, w[l]) * 179"
    assert multipliers(f"cast(u8, rounding_shr({value}, 8))") == 4
