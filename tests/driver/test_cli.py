"""The command line: JSON as promised, one sentence and code 2 for wrong input, 130 for Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dovetail.driver.tuned import Tuned
from tests.driver.calls import call, of_json, ok
from tests.tuner.logs import without_times

NET = """
import sys

import torch

sys.path.insert(0, {tests!r})
from conftest import branches, samples


def build():
    return branches(), samples()[0], samples()


def short():
    return branches()


def broken():
    raise RuntimeError("no disk")


def leaves():
    sys.exit(7)


def stops():
    yield samples()[0]
    raise OSError("the disk is gone")


def talks():
    print("on the way")
    yield samples()[0]


def named():
    (x,) = samples()[0]
    return branches(), {{"x": x}}, [{{"x": x}}, ((x,), {{}})]


class Unknown(torch.nn.Module):
    def forward(self, x):
        return torch.erfinv(x)


def unknown():
    return Unknown(), (torch.zeros(1, 3),)


def batches():
    return samples(2)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a net.py in it."""
    tests = str(Path(__file__).parent)
    (tmp_path / "net.py").write_text(NET.format(tests=tests))
    monkeypatch.chdir(tmp_path)
    return tmp_path


TUNE = ("tune", "net.py:build", "--trials", "8", "--log", "run.jsonl", "--workers", "0")


def test_tune_prints_the_promised_json(here: Path) -> None:
    found = of_json(*TUNE)
    assert list(found) == [
        "model", "target", "recipe", "trials", "seconds", "trials_per_second", "cycles",
        "default_cycles", "bound", "kernels", "walks", "log",
    ]  # fmt: skip
    for row in found["kernels"]:
        assert list(row) == [
            "name", "kind", "macs", "cycles", "default_cycles", "bound", "status_counts"
        ]  # fmt: skip
    assert (found["model"], found["target"], found["log"]) == ("net.py:build", "dsp", "run.jsonl")
    assert found["cycles"] == sum(row["cycles"] for row in found["kernels"])
    counts = [n for row in found["kernels"] for n in row["status_counts"].values()]
    assert sum(counts) + sum(found["walks"].values()) == found["trials"] <= 8


def test_the_commands_speak_of_one_model(here: Path) -> None:
    cycles = of_json(*TUNE)["cycles"]
    assert of_json("compile", "net.py:build", "--log", "run.jsonl", "-o", "m.dovetail",
                   "--workers", "0")["cycles"] == cycles  # fmt: skip
    assert of_json("replay", "run.jsonl", "net.py:build", "--mode", "verify",
                   "--workers", "0")["cycles"] == cycles  # fmt: skip
    profile = of_json("profile", "m.dovetail", "--packets")
    assert profile["cycles"] == cycles
    assert all("dots_per_packet" in row and "{" in row["listing"] for row in profile["kernels"])
    np.save("x.npy", np.zeros((1, 5, 18, 14), np.float32))
    run = of_json("run", "m.dovetail", "--input", "x.npy", "--output", "y.npz")
    assert run["exact"] and run["cycles"] == cycles
    with np.load("y.npz") as written:
        assert list(written[written.files[0]].shape) == run["outputs"][0]["shape"]


def test_plain_text_is_for_people(here: Path) -> None:
    text = ok("tune", "net.py:build", "--trials", "2", "--workers", "0")
    assert re.search(r"^total +0 +[\d,]+ +[\d,]+ +[\d,]+ +[\d.]+$", text, re.MULTILINE)
    assert re.search(r"2 trials in [\d.]+ s \([\d.]+ trials/s\)$", text)
    text = ok("profile", "net.py:build", "--workers", "0", "--calibration", "net.py:batches")
    assert "dots/packet" in text
    text = ok("profile", "net.py:build", "--workers", "0", "--packets", "--kernel", "cat")
    assert text.count("\t.text\n") == 1
    assert "the same bytes as the exact evaluation" in ok("run", "net.py:build", "--workers", "0")


def test_coverage_lists_all_operators(here: Path) -> None:
    found = of_json("coverage", "net.py:unknown")
    assert not found["supported"]
    assert found["operators"][0]["operator"] == "aten.erfinv"
    assert of_json("coverage", "net.py:build")["supported"]
    assert "aten.erfinv" in ok("coverage", "net.py:unknown")


def test_a_function_may_name_its_inputs(here: Path) -> None:
    assert of_json("coverage", "net.py:named")["supported"]
    assert of_json("run", "net.py:named", "--workers", "0")["exact"]


def test_tables_of_instructions_and_models() -> None:
    rows = of_json("instructions")["instructions"]
    assert sum(bool(row["hvx"]) for row in rows) >= 60
    assert all(row["asm"] and row["unit"] and row["meaning"] for row in rows)
    assert "vrmpy" in ok("instructions")
    found = call("instructions", "--version", "5")
    assert found.exit_code == 2
    assert found.stderr == "error: dsp: version must be an integer from 60 to 73, but got 5\n"
    assert of_json("zoo", "list")["models"] == ok("zoo", "list").split()


def test_a_machine_is_listed_by_its_fields() -> None:
    found = of_json("machine", "--target", "dsp(threads=2)")
    fields = {row["field"]: row for row in found["fields"]}
    assert found["target"] == "dsp(threads=2)" and fields["threads"]["value"] == 2
    assert all(row["meaning"].endswith(".") for row in fields.values())
    text = ok("machine")
    assert re.search(r"^threads +4 +Hardware threads with a vector context each;", text, re.M)
    assert re.search(r"^units +\d+ rows +The slots and pipes", text, re.M)
    found = call("machine", "--target", "gpu")
    assert found.exit_code == 2 and found.stderr.startswith("error: target: must be a Machine, ")


COMMANDS = [
    *(["tune"], ["compile"], ["run"], ["replay"], ["profile"], ["coverage"], ["explain"]),
    *(["analyze"], ["rules"], ["instructions"], ["machine"], ["zoo", "list"]),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_json(words: list[str]) -> None:
    text = ok(*words, "--help")
    example = text[text.index("Example") :]
    assert f"dovetail {' '.join(words)}" in example
    assert "--json" in text


def test_help_names_all_commands_in_whole_sentences() -> None:
    text = ok("--help")
    assert "Examples:\n    dovetail tune" in text
    listed = text[text.index("Commands:") : text.index("Examples:")]
    assert "..." not in listed
    names = {line.split()[0] for line in listed.splitlines()[1:] if line.strip()}
    assert names == {words[0] for words in COMMANDS}


WRONG = {
    "foo": "error: model: must be one of the zoo (digits, ",
    "none.pt2": "error: import_model: the model file must exist, but none.pt2 does not",
    "none.py:f": "error: model: none.py:f must name a function in a Python file, but no none.py is",
    "net.py:f": "error: model: net.py must have a function 'f', but it has none",
    "net.py:short": "error: model: net.py:short must return (module, inputs) or ",
    "net.py:broken": "error: model: net.py:broken must run, but raised RuntimeError: no disk",
    "net.py:leaves": "error: model: net.py:leaves must run, but raised SystemExit: 7",
    "resnet": ", but got 'resnet'; did you mean 'resnet8'?",
    "net.py:unknown": "error: import_model: every operator of the model must be supported, ",
}


@pytest.mark.parametrize("model", WRONG)
def test_a_wrong_model_is_one_sentence(model: str, here: Path) -> None:
    found = call("tune", model, "--log", "run.jsonl")
    assert found.exit_code == 2
    lines = found.stderr.splitlines()
    errors = [line for line in lines if not line.startswith(("warning: ", "... "))]
    assert len(errors) == 1 and WRONG[model] in errors[0] and errors[0].startswith("error: ")
    assert not found.stdout
    assert not (here / "run.jsonl").exists()


@pytest.mark.parametrize("words", [("--trials", "0"), ("--trials", "x"), ("--target", "gpu"),
                                   ("--log", "nowhere/run.jsonl"), ("--search", "luck"),
                                   ("--output", "nowhere/m.dovetail"), ("--timeout", "nan"),
                                   ("--calibration", "net.py:stops"),
                                   ("--calibration", "net.py:broken")])  # fmt: skip
def test_a_wrong_option_is_code_2(words: tuple[str, ...], here: Path) -> None:
    found = call("tune", "net.py:build", "--workers", "0", *words)
    assert found.exit_code == 2
    assert not found.stdout
    assert sorted(p.name for p in here.iterdir() if p.name != "__pycache__") == ["net.py"]


def test_what_the_users_code_prints_is_no_part_of_the_json(here: Path) -> None:
    found = call("tune", "net.py:build", "--calibration", "net.py:talks", "--workers", "0",
                 "--trials", "1", "--json")  # fmt: skip
    assert json.loads(found.stdout)["trials"] == 1
    assert "on the way" in found.stderr


def test_a_saved_model_takes_no_log_and_needs_inputs(here: Path) -> None:
    ok("compile", "net.py:build", "--output", "m.dovetail", "--workers", "0")
    found = call("run", "m.dovetail", "--log", "run.jsonl")
    assert found.exit_code == 2
    assert found.stderr == (
        "error: log: a saved model has its points already, but --log was given\n"
    )
    found = call("run", "m.dovetail")
    assert found.stderr == (
        "error: run: this model comes without example inputs; give --input FILE.npz\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--input", "none.npy"), "the input file must exist, but none.npy does not"),
        (("--input", "pipe"), "pipe cannot be read: Not a regular file"),
        (("--input", "/dev/null"), "/dev/null cannot be read: Not a regular file"),
        (("--input", "empty"), "empty must be a .npy or .npz of numbers, but it is not"),
        (("--input", "net.py"), "net.py must be a .npy or .npz of numbers, but it is not"),
        (("--output", "no/y.npz"), "no/y.npz cannot be written: No such file or directory"),
        (("--output", "/dev/full"), "/dev/full cannot be written: Not a regular file"),
        (("--output", "."), ". cannot be written: Is a directory"),
    ],
)
def test_a_wrong_file_of_run_is_one_sentence(
    words: tuple[str, ...], said: str, here: Path, saved: bytes
) -> None:
    (here / "m.dovetail").write_bytes(saved)
    (here / "empty").touch()
    os.mkfifo("pipe")
    before = sorted(here.iterdir())
    more = ("--input", "x.npy") if words[0] == "--output" else ()
    found = call("run", "m.dovetail", *words, *more)
    assert (found.exit_code, found.stderr) == (2, f"error: run: {said}\n")
    assert sorted(here.iterdir()) == before


@pytest.fixture
def saved(compiled: Tuned, tmp_path: Path) -> bytes:
    """The bytes of a saved model."""
    path = tmp_path / "saved.dovetail"
    compiled.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_tune_resumes(kill: signal.Signals, here: Path) -> None:
    words = ("tune", "net.py:build", "--trials", "60", "--workers", "0")
    whole, cut = ("--log", "whole.jsonl"), ("--log", "cut.jsonl")
    command = [sys.executable, "-m", "dovetail.driver.cli", *words, *cut]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (here / "cut.jsonl").exists() and (here / "cut.jsonl").read_bytes().count(b"\n") > 3:
            break
        time.sleep(0.01)
    process.send_signal(kill)
    _, said = process.communicate(timeout=60)
    errors = "".join(line for line in said.splitlines(True) if not line.startswith("... "))
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert re.fullmatch(
            r"interrupted: cut.jsonl has the \d+ trials so far; resume by: "
            r"dovetail tune net.py:build --trials 60 --workers 0 --log cut.jsonl\n",
            errors,
        )
    ok(*words, *cut)
    ok(*words, *whole)
    assert without_times("cut.jsonl") == without_times("whole.jsonl")
