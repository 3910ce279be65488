"""The public functions: a search, its log, replays of it, and each kind of wrong input."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dovetail
from dovetail.driver.api import compile, replay, tune
from dovetail.driver.errors import InputError
from dovetail.driver.report import Report
from dovetail.driver.tuned import KernelRow, Tuned
from dovetail.graph.errors import UnsupportedModel
from dovetail.quant.errors import CalibrationError
from dovetail.quant.recipe import Recipe
from dovetail.target.dsp.target import Dsp
from dovetail.target.errors import SelectError
from dovetail.tuner.records import LogError, read
from dovetail.tuner.settings import Search
from tests.tuner.logs import without_times

Refused = Callable[[type[Exception], Callable[[], object]], str]
Batches = list[tuple[Tensor, ...]]
TRIALS = 14


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "run.jsonl"


@pytest.fixture(scope="module")
def report() -> Report:
    return Report()


@pytest.fixture(scope="module")
def tuned(model: nn.Module, batches: Batches, log: Path, report: Report) -> Tuned:
    return tune(model, TRIALS, batches[0], batches, log=log, seed=3, executor=0, callbacks=[report])


def test_the_public_names_are_these_functions() -> None:
    assert dovetail.tune is tune
    assert dovetail.compile is compile
    assert dovetail.replay is replay


def test_a_search_is_exact_and_never_worse(tuned: Tuned, batches: Batches) -> None:
    assert tuned.bound <= tuned.cycles <= tuned.default_cycles
    found, wanted = tuned(*batches[1]), tuned.reference(*batches[1])
    assert isinstance(found, Tensor) and isinstance(wanted, Tensor)
    assert torch.equal(found, wanted)


def test_the_report_counts_what_the_log_has(tuned: Tuned, log: Path, report: Report) -> None:
    records = list(read(log).records())
    assert len(records) == report.trials == report.fresh <= TRIALS
    counts = [n for statuses in report.statuses.values() for n in statuses.values()]
    assert sum(counts) == len(records)
    assert 0 < report.searching <= report.seconds
    assert report.trials_per_second == report.fresh / report.searching


def test_compile_takes_the_log(tuned: Tuned, model: nn.Module, batches: Batches, log: Path) -> None:
    again = compile(model, batches[0], batches, log=log, executor=0)
    assert [row.cycles for row in again.kernels] == [row.cycles for row in tuned.kernels]
    assert again.kernels == tuned.kernels
    one, other = again.integers(*batches[0]), tuned.integers(*batches[0])
    assert isinstance(one, Tensor) and isinstance(other, Tensor)
    assert torch.equal(one, other)


@pytest.mark.parametrize("mode", ["apply", "strict", "verify"])
def test_replay_repeats(
    mode: str, tuned: Tuned, model: nn.Module, batches: Batches, log: Path
) -> None:
    again = replay(log, model, mode, batches[0], batches, executor=0)
    assert again.kernels == tuned.kernels
    assert all(row.same for row in again.drift)
    assert bool(again.drift) == (mode == "verify")


def test_the_same_call_resumes(tuned: Tuned, model: nn.Module, batches: Batches, log: Path,
                               tmp_path: Path) -> None:  # fmt: skip
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:6]) + b'{"run":"torn')
    known = len(list(read(cut).records()))
    report = Report()
    again = tune(
        model, TRIALS, batches[0], batches, log=cut, seed=3, executor=0, callbacks=[report]
    )
    assert again.kernels == tuned.kernels
    assert without_times(cut) == without_times(log)
    assert report.fresh == report.trials - known


def test_another_seed_needs_append(
    tuned: Tuned, model: nn.Module, batches: Batches, log: Path, tmp_path: Path, refused: Refused
) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(log.read_bytes())

    def other(append: bool) -> Tuned:
        return tune(model, 2, batches[0], batches, log=copy, seed=4, executor=0,
                    search=Search(append=append))  # fmt: skip

    text = refused(LogError, lambda: other(False))
    assert text == (
        f"log {copy}: a run resumes only with the same seed, but the log was written with another "
        "(3, now 4); append=True (--append) starts a new run in it"
    )
    assert copy.read_bytes() == log.read_bytes()
    other(True)
    assert len(read(copy).headers) == 2


def test_strict_refuses_another_target(
    tuned: Tuned, model: nn.Module, batches: Batches, log: Path, refused: Refused
) -> None:
    text = refused(
        LogError,
        lambda: replay(log, model, "strict", batches[0], batches, "dsp(threads=1)", executor=0),
    )
    run = next(iter(read(log).headers))
    assert text == (
        f"log {log}: strict replay: the target must be 'dsp(threads=1)', but run {run} has 'dsp'"
    )


def searched(tuned: Tuned, rows: list[dict[str, Any]]) -> KernelRow:
    """A kernel with a checked trial in a log's lines."""
    keys = {row["kernel"] for row in rows[1:] if row["checked"]}
    return next(row for row in tuned.kernels if row.key in keys)


def test_a_log_whose_cycles_do_not_repeat_is_refused(
    tuned: Tuned, model: nn.Module, batches: Batches, log: Path, tmp_path: Path, refused: Refused
) -> None:
    """A log whose cycles do not repeat is of another version of the compiler."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    kernel = searched(tuned, rows)
    name = kernel.name
    best = min((r for r in rows[1:] if r["kernel"] == kernel.key and r["checked"]),
               key=lambda r: int(r["cycles"]))  # fmt: skip
    best["cycles"] -= 1
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = refused(LogError, lambda: compile(model, batches[0], batches, log=changed, executor=0))
    cycles = kernel.alone
    assert text == (
        f"replay: a kernel must take the cycles that its log says, but {name!r} takes {cycles} "
        f"instead of {cycles - 1}; the log is of another version, tune again"
    )


def test_verify_reports_what_a_log_says_wrongly(
    tuned: Tuned, model: nn.Module, batches: Batches, log: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    kernel = searched(tuned, rows)
    for row in rows[1:]:
        if row["kernel"] == kernel.key and row["checked"]:
            row["cycles"] -= 1
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = replay(changed, model, "verify", batches[0], batches, executor=0)
    assert again.kernels == tuned.kernels
    drifted = [row for row in again.drift if not row.same]
    assert [(row.name, row.logged, row.cycles) for row in drifted] == [
        (kernel.name, kernel.alone - 1, kernel.alone)
    ]


def test_a_missing_log_is_refused(model: nn.Module, tmp_path: Path, refused: Refused) -> None:
    log = tmp_path / "none.jsonl"
    text = refused(LogError, lambda: compile(model, log=log))
    assert text == f"log {log}: cannot be read: No such file or directory"


def test_without_calibration_a_warning_says_so(model: nn.Module, batches: Batches) -> None:
    with pytest.warns(UserWarning) as caught:
        compile(model, batches[0], executor=0)
    assert [str(w.message) for w in caught] == [
        "calibration: none was given, so the example inputs stand for all data; "
        "give calibration=batches for sound ranges"
    ]
    assert [w.filename for w in caught] == [__file__]


def test_programs_and_their_files_are_taken(
    compiled: Tuned, model: nn.Module, batches: Batches, tmp_path: Path
) -> None:
    program = torch.export.export(model, batches[0])
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    for given in (program, path, str(path)):
        found = compile(given, None, batches, executor=0)
        assert [row.cycles for row in found.kernels] == [row.cycles for row in compiled.kernels]


def test_a_program_keeps_its_shapes(model: nn.Module, batches: Batches, refused: Refused) -> None:
    program = torch.export.export(model, batches[0])
    other = (torch.zeros(2, 5, 18, 14),)
    assert refused(UnsupportedModel, lambda: compile(program, other, batches, executor=0)) == (
        "import_model: example inputs must have the shapes with which the program was exported, "
        "(1, 5, 18, 14), but got (2, 5, 18, 14)"
    )


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(self.layer(x))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def linear(value: float) -> nn.Module:
    found = nn.Linear(4, 4)
    with torch.no_grad():
        found.weight[0, 0] = value
    return found


X = (torch.zeros(1, 4),)

# Model, arguments, error, and how its one sentence begins.
WRONG: dict[str, tuple[nn.Module, dict[str, Any], type[Exception], str]] = {
    "export refuses": (
        Branching(), {}, UnsupportedModel,
        "import_model: torch.export must accept the model, but it refused Branching: ",
    ),
    "unsupported operators": (
        Unknown(), {"example_inputs": (torch.zeros(1, 3),)}, UnsupportedModel,
        "import_model: every operator of the model must be supported, but it has aten.erfinv x1",
    ),
    "NaN weights": (linear(float("nan")), {}, UnsupportedModel, "import_model: "),
    "infinite weights": (linear(float("inf")), {}, UnsupportedModel, "import_model: "),
    "calibration of a wrong shape": (
        linear(1), {"calibration": [(torch.zeros(1, 5),)]}, CalibrationError,
        "calibration: inputs have the shapes [(1, 4)] (or several of them along the first axis), "
        "but batch 1 has [(1, 5)]",
    ),
    "calibration with NaN": (
        linear(1), {"calibration": [(torch.full((1, 4), torch.nan),)]}, CalibrationError,
        "calibration: every value must be finite, but batch 1 has NaN or infinities",
    ),
    "empty calibration": (
        linear(1), {"calibration": []}, CalibrationError,
        "calibration: at least one batch is needed, but there was none",
    ),
    "calibration of words": (
        linear(1), {"calibration": [("zero",)]}, CalibrationError,
        "calibration: batch 1: input must be a tensor, but got 'zero'",
    ),
    "sparse calibration": (
        linear(1), {"calibration": [(torch.zeros(1, 4).to_sparse(),)]}, InputError,
        "inputs: must be dense tensors or arrays of real numbers, "
        "but got Tensor (float32, sparse_coo, cpu)",
    ),
    "inputs by name": (
        linear(1), {"example_inputs": {"x": X[0]}}, UnsupportedModel,
        "import_model: example inputs must be the arguments of Linear.forward(input), but input is "
        "missing",
    ),
    "calibration that is no iterable": (
        linear(1), {"calibration": 7}, InputError,
        "calibration: must be an iterable of input tuples, but got int",
    ),
    "zero trials": (
        linear(1), {"trials": 0}, InputError,
        "tune: trials must be a whole number of at least 1, but got 0",
    ),
    "a fraction of trials": (
        linear(1), {"trials": 1.5}, InputError,
        "tune: trials must be a whole number of at least 1, but got 1.5",
    ),
    "unknown search": (
        linear(1), {"search": lambda: Search(algorithm="luck")}, InputError,
        "tune: algorithm (--search) must be one of evolution, random, exhaustive, but got 'luck'",
    ),
    "a seed of words": (
        linear(1), {"seed": "a"}, InputError, "tune: seed must be a whole number, but got 'a'",
    ),
    "unknown target": (linear(1), {"target": "gpu"}, InputError, "target: must be a Machine, "),
    "unknown observer": (
        linear(1), {"recipe": lambda: Recipe(observer="eye")}, InputError,
        "observer: must be one of minmax, percentile, but got 'eye'",
    ),
    "no inputs": (
        linear(1), {"example_inputs": None}, UnsupportedModel,
        "import_model: example inputs must be a tuple of tensors, one for each argument of the "
        "model, or a dict of them by name, but got None",
    ),
}  # fmt: skip


def _made(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments, their records made now."""
    records = ("recipe", "search")
    return {name: one() if name in records else one for name, one in arguments.items()}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_sentence_and_writes_nothing(
    name: str, tmp_path: Path, refused: Refused
) -> None:
    model, arguments, kind, begin = WRONG[name]
    given: dict[str, Any] = {"trials": 4, "example_inputs": X, "calibration": [X], "executor": 0}
    log = tmp_path / "run.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        text = refused(kind, lambda: tune(model.eval(), log=log, **given | _made(arguments)))
    assert text.startswith(begin)
    assert "\n" not in text
    assert not list(tmp_path.iterdir())


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path, refused: Refused) -> None:
    def run(log: Path) -> Callable[[], object]:
        return lambda: tune(linear(1), 4, X, [X], log=log)

    text = refused(LogError, run(tmp_path / "nowhere" / "run.jsonl"))
    assert text == (
        f"log {tmp_path}/nowhere/run.jsonl: cannot be written: No such file or directory"
    )
    assert refused(LogError, run(tmp_path)) == f"log {tmp_path}: cannot be written: Is a directory"


def test_an_unknown_mode_of_replay_is_refused(refused: Refused) -> None:
    text = refused(InputError, lambda: replay("run.jsonl", linear(1), "guess"))
    assert text == "replay: the mode must be one of apply, verify, strict, but got 'guess'"


def test_a_kernel_without_code_is_named(
    model: nn.Module, batches: Batches, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> object:
        raise SelectError("select: the machine has nothing")

    monkeypatch.setattr(Dsp, "build", nothing)
    text = refused(SelectError, lambda: compile(model, batches[0], batches, "dsp", executor=0))
    assert text.startswith("compile: each kernel needs code for dsp, but ")
    assert "select: the machine has nothing" in text
    assert "\n" not in text


def test_what_a_kernel_does_not_read_is_no_part_of_its_bound() -> None:
    """Each slice reads a quarter of an image in DDR, faster than the whole could be moved."""

    class Focus(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1)

    x = torch.randn((1, 3, 34, 38), generator=torch.Generator().manual_seed(0))
    tuned = compile(Focus().eval(), (x,), [(x,)], executor=0)
    assert tuned.bound <= tuned.cycles
    got, wanted = tuned(x), tuned.reference(x)
    assert isinstance(got, Tensor) and isinstance(wanted, Tensor)
    assert torch.equal(got, wanted)


def test_a_tiny_tcm_has_code_for_everything(model: nn.Module, batches: Batches) -> None:
    tuned = compile(model, batches[0], batches, "dsp(tcm=4096)", executor=0)
    got, wanted = tuned(*batches[0]), tuned.reference(*batches[0])
    assert isinstance(got, Tensor) and isinstance(wanted, Tensor)
    assert torch.equal(got, wanted)
