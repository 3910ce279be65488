"""No schedule changes values: random legal primitives on sample kernels, interpreted before and
after, byte for byte; and every trace replays to the identical function."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.state import LoopRef
from dovetail.tir.stmt import For, walk_stmt
from tests.schedule.kernels import TEXTS, kernel, same

Move = Callable[[Schedule, Random], None]


def any_loop(sch: Schedule, rng: Random) -> str:
    return rng.choice([str(s.axis.attr) for s in walk_stmt(sch.logical.body) if isinstance(s, For)])


def any_block(sch: Schedule, rng: Random) -> str:
    return rng.choice(sch.blocks()).name


def split(sch: Schedule, rng: Random) -> None:
    factors = rng.choice([(None, 2), (None, 3), (2, None), (None, 4), (None, 2, 2), (None, 8)])
    sch.split(any_loop(sch, rng), factors, tail=rng.choice(["exact", "guard", "peel"]))


def reorder(sch: Schedule, rng: Random) -> None:
    loops = sch.loops(any_block(sch, rng))
    sch.reorder(*rng.sample(loops, min(rng.randint(2, 9), len(loops))))


def fuse(sch: Schedule, rng: Random) -> None:
    loops = sch.loops(any_block(sch, rng))
    first = rng.randrange(len(loops))
    sch.fuse(*loops[first : first + rng.randint(2, 3)])


def kind(sch: Schedule, rng: Random) -> None:
    kinds: list[Callable[[LoopRef | str], None]] = [
        sch.unroll,
        sch.parallel,
        sch.vectorize,
        sch.vectorize,
        sch.serial,
    ]
    if rng.random() < 0.5:
        rng.choice(kinds)(sch.loops(any_block(sch, rng))[-1])
    rng.choice(kinds)(any_loop(sch, rng))


def compute_at(sch: Schedule, rng: Random) -> None:
    sch.compute_at(any_block(sch, rng), any_loop(sch, rng))


def reverse_compute_at(sch: Schedule, rng: Random) -> None:
    sch.reverse_compute_at(any_block(sch, rng), any_loop(sch, rng))


def inline(sch: Schedule, rng: Random) -> None:
    rng.choice([sch.compute_inline, sch.reverse_compute_inline])(any_block(sch, rng))


def cache(sch: Schedule, rng: Random) -> None:
    names = [p.name for p in sch.logical.params] + ["acc", "xp", "a", "c", "best"]
    method = rng.choice([sch.cache_read, sch.cache_write])
    method(any_block(sch, rng), rng.choice(names), rng.choice(["tcm", "reg"]))


def layout(sch: Schedule, rng: Random) -> None:
    name = rng.choice(["acc", "xp", "a", "best", "w"])
    n = rng.choice([2, 3, 4, 8])
    maps: dict[int, list[Callable[..., tuple[object, ...]]]] = {
        1: [lambda i: (i // n, i % n)],
        2: [lambda i, j: (j // n, i, j % n), lambda i, j: (j, i), lambda i, j: (i * 64 + j,)],
        3: [lambda h, w, c: (c // n, h, w, c % n), lambda h, w, c: (h, c, w)],
        4: [lambda a, h, w, c: (a, c // n, h, w // 2, w % 2, c % n)],
    }
    some = maps.get(len(sch.get_buffer(name).shape), [lambda a, b, c, d, e, f: (f, a, b, c, d, e)])
    sch.transform_layout(name, rng.choice(some))


def reduction(sch: Schedule, rng: Random) -> None:
    method = rng.choice([sch.decompose_reduction, sch.rfactor])
    block = any_block(sch, rng)
    method(block, rng.choice(sch.loops(block)))


def offset(sch: Schedule, rng: Random) -> None:
    sch.offset_operand(any_block(sch, rng), "w", lanes=rng.choice([1, 8, 32]))


def pad(sch: Schedule, rng: Random) -> None:
    block = any_block(sch, rng)
    sch.pad_einsum(block, [rng.choice([1, 1, 3, 4]) for _ in sch.get_block(block).iters])


def copy_ahead(sch: Schedule, rng: Random) -> None:
    sch.double_buffer(any_block(sch, rng), copies=rng.choice([1, 2, 2]))


def note(sch: Schedule, rng: Random) -> None:
    sch.annotate(any_loop(sch, rng), "pipeline", rng.choice([None, 2, "yes"]))


MOVES: tuple[Move, ...] = (
    split, split, split, reorder, reorder, reorder, fuse, kind, kind, compute_at, compute_at,
    reverse_compute_at, reverse_compute_at, inline, cache, layout, reduction,
    offset, pad, copy_ahead, copy_ahead, note,
)  # fmt: skip


def play(name: str, seed: int, wanted: int) -> Schedule:
    """A schedule of ``name`` by about ``wanted`` random primitives; refused ones are passed by."""
    rng = Random(seed)
    sch = Schedule(kernel(name))
    for _ in range(wanted * 8):
        if len(sch.trace) >= wanted:
            break
        try:
            rng.choice(MOVES)(sch, rng)
        except ScheduleError:
            continue
        if sum(1 for _ in walk_stmt(sch.logical.body)) > 90:
            break
    return sch


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30), wanted=st.integers(1, 14))
def test_random_schedules_keep_values(name: str, seed: int, wanted: int) -> None:
    func = kernel(name)
    same(play(name, seed, wanted), func)


def test_moves_are_not_all_refused() -> None:
    steps = {step.name for seed in range(40) for step in play("conv", seed, 10).trace}
    assert steps >= {"split", "reorder", "fuse", "vectorize", "compute_at", "reverse_compute_at",
                     "transform_layout", "cache_read", "decompose_reduction"}  # fmt: skip
