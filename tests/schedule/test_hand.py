"""Schedules by hand: random ones of random kernels have the interpreter's bytes, or no code.

    DOVETAIL_SCHEDULES=5000 DOVETAIL_SEED=100000 pytest tests/schedule/test_hand.py

draws others and more of them. What has no code must be refused by a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.decorators import VECTOR
from dovetail.target.dsp.hexagon.run_listing import run_program
from dovetail.target.dsp.spill import CompileError
from dovetail.target.dsp.target import Dsp, dsp
from dovetail.target.errors import SelectError
from dovetail.target.instruction import Register, register_class
from dovetail.target.jit import jit
from dovetail.target.program import Program
from dovetail.tir.interpret import interpret
from dovetail.tir.passes.lift import lift
from dovetail.tir.passes.vectorize import VectorizeError
from dovetail.tir.stmt import PrimFunc
from tests.schedule.draw import kernel
from tests.schedule.moves import CODE_MOVES, finish, play
from tests.tir.helpers import random_array

Arrays = dict[str, NDArray[Any]]
Record = Callable[[str, object], None]

REFUSED = (ScheduleError, VectorizeError, SelectError)
FIRST = int(os.environ.get("DOVETAIL_SEED", "0"))
WANTED = int(os.environ.get("DOVETAIL_SCHEDULES", "300"))  # schedules that have code
PARTS = 6
SHARE, LANES = 0.2, 0.2  # of drawn schedules have code; of these have vectors
LISTED = 14  # of them run under QEMU
MACHINES = (dsp(), dsp(), dsp(threads=1), dsp(threads=3), dsp(version=62), dsp(version=65),
            dsp(version=68), dsp(version=69))  # fmt: skip
PRIMITIVES = {
    "split", "fuse", "merge", "reorder", "unroll", "parallel", "vectorize", "compute_at",
    "compute_inline", "decompose_reduction", "rfactor", "cache_read",
    "cache_write", "stage", "set_scope", "transform_layout", "offset_operand", "split_bytes",
    "retype", "transfer", "resize", "divide", "join", "trim", "border", "expand",
    "separate",
    "guard", "word_taps",
}  # fmt: skip


@dataclass
class Drawn:
    """A kernel, a schedule of it, and the function that becomes code."""

    seed: int
    kernel: PrimFunc
    schedule: Schedule
    func: PrimFunc
    machine: Dsp

    @property
    def arrays(self) -> Arrays:
        """Fixed values of all parameters, those at the edges of their types among them."""
        rng = np.random.default_rng(self.seed)
        given = {p.name: random_array(p.type, p.shape, rng) for p in self.kernel.params}
        return given | {name: a.copy() for name, a in self.kernel.constants.items()}

    @property
    def wanted(self) -> Arrays:
        """The parameters as the interpreter leaves them."""
        arrays = self.arrays
        interpret(self.kernel, *arrays.values())
        return arrays

    def told(self, name: str) -> str:
        return f"seed {self.seed}, {name} on {self.machine.name}\n{self.schedule.trace}"


def drawn(seed: int) -> Drawn:
    """Half of the kernels are lifted, before they are scheduled or after."""
    func, rng = kernel(seed), Random(seed)
    sch = play(func, rng, rng.randint(0, 8), CODE_MOVES)
    if rng.random() < 0.9:
        finish(sch, rng)
    made = lift(sch.func) if seed % 5 == 0 else sch.func
    return Drawn(seed, func, sch, made, rng.choice(MACHINES))


def program(made: Drawn) -> Program | None:
    """The selected code, or None where a sentence says why there is none."""
    try:
        return made.machine.build(made.func)
    except REFUSED as refusal:
        assert ": " in str(refusal), made.told("refusal")
        return None


def has_vectors(code: Program) -> bool:
    results = [op.instruction.result for op in code.ops()]
    return any(r is not None and register_class(r, VECTOR) is Register.VECTOR for r in results)


def free(made: Drawn) -> list[str]:
    """The parameters that the caller gives."""
    return [p.name for p in made.func.params if p.name not in made.func.constants]


@pytest.mark.parametrize("part", range(PARTS))
def test_code_of_random_schedules(part: int, record_property: Record) -> None:
    seeds, right, vectors = 0, 0, 0
    while right < WANTED // PARTS:
        made = drawn(FIRST + part + PARTS * seeds)
        seeds += 1
        code = program(made)
        if code is None:
            continue
        got, wanted = made.arrays, made.wanted
        jit(code)(*(got[name] for name in free(made)))
        for name in free(made):
            np.testing.assert_array_equal(got[name], wanted[name], made.told(name))
        right, vectors = right + 1, vectors + has_vectors(code)
    record_property("slice", f"schedules by hand: {seeds} from {FIRST + part} on, {right} with "
                             f"code, {vectors} with vectors")  # fmt: skip
    assert right >= SHARE * seeds
    assert vectors >= LANES * right


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
def test_listings_of_random_schedules(record_property: Record) -> None:
    """QEMU gives the interpreter's bytes in the packets that were predicted."""
    seed, done = FIRST + 1_000_000, 0
    while done < LISTED:
        seed += 1
        made = drawn(seed)
        code = program(made)
        if code is None or not has_vectors(code):
            continue
        try:
            listing = compile_program(code, made.machine)
        except CompileError as refusal:
            assert ": " in str(refusal)
            continue
        arrays, wanted = made.arrays, made.wanted
        order = {"backwards": seed % 2 == 0, "late": seed % 3 == 0}
        found = run_program(code, listing, [arrays[name] for name in free(made)], **order)
        assert found.packets == cost(listing).executed, made.told("packets")
        for name, data in found.outputs.items():
            assert data.tobytes() == wanted[name].tobytes(), made.told(name)
        done += 1
    record_property("slice", f"listings by hand: {done}, the last of seed {seed}")


def test_every_primitive_is_drawn() -> None:
    names = {step.name for seed in range(700) for step in drawn(seed).schedule.trace}
    assert names == PRIMITIVES
