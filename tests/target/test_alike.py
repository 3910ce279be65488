"""Phases that work elsewhere in their places are one code, and each computes what it must."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.errors import SelectError
from dovetail.target.jit import jit
from dovetail.target.program import Dma, Phase, Program
from dovetail.target.races import require_waits
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc

HEAD = """
@prim_func
def turns(x: Buffer[u8, (4096,)], w: Buffer[i8, (32, 128), "tcm"],
          y: Buffer[i32, (32, 32), "tcm"]):
    n = alloc(u8, (4096,), "tcm")
"""

PHASE = """
    copy(n[{x}:{end}], x[{x}:{end}])
    for {i} in parallel(4):
        r = alloc(i32, (32,), "reg")
        for l in vectorized(32):
            r[l] = y[{i} + {y}, l]
        for k in unrolled(2):
            for l in vectorized(32):
                for c in vectorized(4):
                    r[l] = r[l] + cast(i32, n[{i} * 4 + c + {x}]) * cast(i32, w[{w} - k, l * 4 + c])
        for l in vectorized(32):
            y[{i} + {y}, l] = r[l]
"""


def kernel(*at: tuple[int, int, int], axis: str = "i") -> PrimFunc:
    """A phase for each place in x, w and y."""
    phases = [PHASE.format(i=axis, x=x, w=w, y=y, end=x + 128) for x, w, y in at]
    return parse(HEAD + "".join(phases))


def computing(func: PrimFunc, machine: Dsp | None = None) -> list[Phase]:
    return [phase for phase in (machine or dsp()).build(func).phases if phase.parallel]


def check(func: PrimFunc) -> None:
    rng = np.random.default_rng(0)
    given = [
        rng.integers(b.type.low, b.type.high, b.shape).astype(b.type.numpy) for b in func.params
    ]
    wanted = [array.copy() for array in given]
    interpret(func, *wanted)
    jit(dsp().build(func))(*given)
    np.testing.assert_array_equal(given[2], wanted[2])


def test_where_a_phase_works_is_no_part_of_its_code() -> None:
    first, second = computing(kernel((0, 1, 0), (1024, 31, 8)))
    assert first.code is second.code and first.body is second.body
    assert (dict(first.shifts), dict(second.shifts)) == (
        {}, {"n": 1024, "w": 30 * 128, "y": 8 * 128}
    )  # fmt: skip
    check(kernel((0, 1, 0), (1024, 31, 8)))


@pytest.mark.parametrize("seed", range(20))
def test_phases_compute_the_same_wherever_they_work(seed: int) -> None:
    """Some begin within a vector, before or behind others, some where others do."""
    chance, bytes_ = Random(seed), [0, 4, 128, 640, 644, 2048]
    check(kernel(*[(chance.choice(bytes_), chance.randrange(1, 32), chance.randrange(28))
                   for _ in range(4)]))  # fmt: skip


def test_what_is_aligned_stays_so() -> None:
    first, second = computing(kernel((0, 1, 0), (1028, 3, 8)))
    assert first.code is not second.code
    assert second.shifts["n"] == 1024
    first, second = computing(kernel((0, 1, 0), (1024, 3, 8)), dsp(burst=512))
    assert first.code is not second.code  # w and y lie otherwise in bursts
    assert second.shifts == {"n": 1024, "y": 1024}


def test_kernels_share_what_they_have_in_common() -> None:
    (one,), (other,) = computing(kernel((128, 5, 4))), computing(kernel((256, 9, 2)))
    assert one.code is other.code
    (named,) = computing(kernel((256, 9, 2), axis="j"))
    assert named.code is one.code


def test_transfers_are_held_to_where_phases_work() -> None:
    """The code of the second phase reads what the transfer brings, but it works behind that."""
    program = dsp().build(kernel((0, 1, 0), (1024, 1, 8)))
    _, apart, moving, same = program.phases
    assert isinstance(moving.body[0], Dma)
    start = Phase(moving.body[:1], shifts=moving.shifts)
    require_waits(Program("apart", program.places, [start, apart]))
    with pytest.raises(SelectError, match="must wait for copy before it touches n"):
        require_waits(Program("together", program.places, [start, same]))
