"""The search over a model's own decisions: logged, resumed, replayed, and right at any point."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail import compile, dsp, replay, tune
from dovetail.driver.decisions import Decisions, values
from dovetail.driver.model_program import ModelProgram, Together, arranged, codes_of, ordered
from dovetail.driver.model_search import BATCH, ModelSearch, program
from dovetail.driver.program_order import ACROSS, Clashes, TimedPhase, by_one, located, turned
from dovetail.driver.tuned import Tuned
from dovetail.driver.whole_model import WholeModel, spelled
from dovetail.schedule.knobs import Point
from dovetail.tuner.measure import Measurer
from dovetail.tuner.records import LogError, TrialRecord, line, read, spell
from dovetail.tuner.task import MODEL, OK
from tests.driver.test_program import Branches, image, made
from tests.tuner.logs import without_times

TRIALS = 40


def model() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Branches(8).eval(), image(8, 16)


def tuned_into(path: Path, trials: int = TRIALS, workers: int = 0) -> Tuned:
    module, x = model()
    return tune(module, trials, (x,), [(x,)], log=path, executor=workers)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run.jsonl"
    tuned_into(path)
    return path


def walks(path: Path) -> list[TrialRecord]:
    return [record for record in read(path).records() if record.kernel == MODEL]


def test_walks_are_trials_and_the_best_is_checked(log: Path) -> None:
    records = list(read(log).records())
    assert [record.index for record in records] == list(range(TRIALS))
    found = walks(log)
    assert BATCH <= len(found) < TRIALS
    assert {record.status for record in found} == {OK}
    assert len({spell_point(record) for record in found}) == len(found)
    assert min(found, key=lambda record: record.cycles or 0).checked


def spell_point(record: TrialRecord) -> str:
    return line(dict(record.point))


def test_a_record_is_one_line_both_ways(log: Path) -> None:
    lines = log.read_text().splitlines()
    for record in walks(log):
        assert spell(record) in lines


@pytest.mark.parametrize("lines, torn", [(1, 0), (5, 30), (33, 7)])
def test_a_run_goes_on_from_any_line(log: Path, tmp_path: Path, lines: int, torn: int) -> None:
    whole = log.read_bytes().split(b"\n")
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(one + b"\n" for one in whole[:lines]) + whole[lines][:torn])
    tuned_into(path)
    assert without_times(path) == without_times(log)


def test_workers_change_nothing(log: Path, tmp_path: Path) -> None:
    tuned_into(tmp_path / "run.jsonl", workers=2)
    assert without_times(tmp_path / "run.jsonl") == without_times(log)


def test_a_finished_run_walks_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a walk that the log has")

    before = without_times(log)
    monkeypatch.setattr(WholeModel, "measure", never)
    tuned_into(log)
    assert without_times(log) == before


@pytest.mark.parametrize("mode", ["apply", "strict", "verify"])
def test_a_replay_gives_the_cycles_and_the_bytes(log: Path, mode: str) -> None:
    module, x = model()
    first, again = tuned_into(log), replay(log, module, mode, (x,), [(x,)], executor=0)
    assert again.cycles == first.cycles <= first.default_cycles
    assert again.program == first.program and again.choices == first.choices
    assert torch.equal(again(x), again.reference(x))
    assert [row.same for row in again.drift] == [True] * len(again.drift)
    assert (MODEL in [row.name for row in again.drift]) == (mode == "verify")


def test_a_compiled_model_takes_the_point_of_its_log(log: Path) -> None:
    module, x = model()
    assert compile(module, (x,), [(x,)], log=log, executor=0).program == tuned_into(log).program


def rewritten(log: Path, path: Path, old: str, new: str) -> Path:
    text = log.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_other_cycles_than_the_logs_are_refused(log: Path, tmp_path: Path) -> None:
    best = min(walks(log), key=lambda record: record.cycles or 0)
    path = rewritten(log, tmp_path / "run.jsonl", spell(best),
                     spell(best).replace(f'"cycles":{best.cycles}', '"cycles":17'))  # fmt: skip
    module, x = model()
    with pytest.raises(LogError) as refused:
        replay(path, module, "apply", (x,), [(x,)], executor=0)
    assert str(refused.value) == (
        f"replay: a model must take the cycles that its log says, but takes {best.cycles} "
        "instead of 17; the log is of another version, tune again"
    )
    drift = replay(path, module, "verify", (x,), [(x,)], executor=0).drift
    assert [(row.name, row.logged) for row in drift if not row.same] == [(MODEL, 17)]


def test_strict_refuses_another_model_as_a_whole(log: Path, tmp_path: Path) -> None:
    (head,) = read(log).headers.values()
    path = rewritten(log, tmp_path / "run.jsonl", head["model"], "0123456789abcdef")
    module, x = model()
    with pytest.raises(LogError) as refused:
        replay(path, module, "strict", (x,), [(x,)], executor=0)
    assert str(refused.value) == (
        f"log {path}: strict replay: the model must be {head['model']!r}, "
        f"but run {head['run']} has trials of '0123456789abcdef' as a whole"
    )
    apart = replay(path, module, "apply", (x,), [(x,)], executor=0)
    assert torch.equal(apart(x), apart.reference(x))


def test_points_that_are_none_any_more_are_passed_over(log: Path, tmp_path: Path) -> None:
    path = rewritten(log, tmp_path / "run.jsonl", '"carrier":', '"porter":')
    module, x = model()
    found = replay(path, module, "apply", (x,), [(x,)], executor=0)
    assert torch.equal(found(x), found.reference(x))


@pytest.mark.parametrize("tcm", [1 << 15, 1 << 20])
def test_any_point_gives_the_bytes(tcm: int) -> None:
    x = image(5, 20)
    found, defaults = made(Branches(24), x, dsp(tcm=tcm))
    given = [np.random.default_rng(0).integers(0, 256, found.graph.types[name].shape)
             .astype(np.uint8) for name in found.graph.inputs]  # fmt: skip
    rng = Random(tcm)
    with Measurer(0) as measurer:
        search = ModelSearch.begin(found, defaults, {}, measurer, 0)
        assert search is not None
        for _ in range(6):
            runs = search.model.arranged(random_point(search, rng)).program()
            tuned = Tuned(found, defaults, runs, runs)
            pairs = zip(tuned.run(given), tuned.exact(given), strict=True)
            assert all(np.array_equal(got, wanted) for got, wanted in pairs)
            assert_in_order(tuned, runs)


def random_point(search: ModelSearch, rng: Random) -> Point:
    ready = search.model.ready
    threads = ready.machine.threads
    some = values(len(ready.kernels), threads)
    first = {task.name: rng.randrange(threads) for task in ready.kernels}
    decided = {name: rng.choice(found) for name, found in some.items()}
    return spelled({}, Decisions(**decided, first=first))


def assert_in_order(tuned: Tuned, found: ModelProgram) -> None:
    """A barrier stands between phases of which one thread disturbs another; and phases that touch
    the same bytes come as the kernels do."""
    clashes, barrier = Clashes(), 0
    phases = list(timed(tuned, found))
    for number, (phase, step) in enumerate(zip(phases, found.steps, strict=True)):
        barrier = barrier if step.free else number
        for before in phases[barrier:number]:
            assert clashes.of(before, phase) != ACROSS
        for before in phases[:number]:
            if not (before.stays or phase.stays) and clashes.of(before, phase):
                one, other = before.phase, phase.phase
                assert (one.owner, one.phase) < (other.owner, other.phase)


def timed(tuned: Tuned, found: ModelProgram) -> Iterator[TimedPhase]:
    """The program's phases, with what threads touch."""
    threads = tuned.ready.machine.threads
    codes = codes_of(tuned.ready, tuned.choices)
    order, _ = ordered(tuned.ready, tuned.choices, found)
    for step, phase in zip(found.steps, order, strict=True):
        if step.kernel == len(codes):
            one = found.arrivals[step.phase // 2]
            yield TimedPhase(phase, (by_one("tcm", one.address, one.size, step.first),), stays=True)
            continue
        code, places = codes[step.kernel], found.places[step.kernel]
        turn = partial(turned, step.first, threads)
        yield TimedPhase(phase, tuple(located(code, code.touches[step.phase], places, turn)))


def test_untuned_users_get_the_best_of_a_few() -> None:
    found, choices = made(Branches(24), image(6, 20), dsp())
    simple = arranged(found, Together(choices, Decisions(), 0, 0))
    assert program(found, choices).cycles <= simple.cycles
