"""Every option of the commands, given everything that it should not be: one sentence, code 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dovetail.driver import quantized
from dovetail.driver.cli import app
from dovetail.driver.errors import InputError
from dovetail.driver.given import Given
from dovetail.tuner.log import Log
from dovetail.tuner.records import header

NET = """
import torch


def build():
    return torch.nn.ReLU(), (torch.zeros(1, 4),), [(torch.zeros(1, 4),)]


def none():
    return None
"""
VALUES = [
    "", "x", "a\0b", "x" * 300, "-1", "1.5", "nan", "1e400", "/tmp", "/dev/null", "/dev/full",
    "pipe", "loop", "dangling", "net.py", "net.py:none", "x.pt2", "pipe.pt2", "pipe.dovetail",
    "no/where", "dsp(",
]  # fmt: skip
OPTIONS = {
    "tune": "trials log seed target calibration search warm observer requantize algorithm "
    "workers timeout output",
    "compile": "log target observer requantize algorithm calibration workers output",
    "run": "log target observer requantize algorithm calibration workers input output",
    "replay": "mode target observer requantize algorithm calibration workers output",
    "profile": "log target observer requantize algorithm calibration workers kernel",
    "explain": "kernel rule forbid rewrite-limit log target observer requantize algorithm "
    "calibration workers",
    "instructions": "version",
    "machine": "target",
    "analyze": "observer requantize algorithm calibration",
}
ARGUMENTS = {"replay": ["log.jsonl", "net.py:build"], "instructions": [], "machine": []}
CASES = [(name, option) for name, options in OPTIONS.items() for option in options.split()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model, a log, and files that are none; no model is compiled."""

    def taken(*_: object) -> None:
        raise InputError("taken: the options are right")

    monkeypatch.setattr(Given, "ready", taken)
    monkeypatch.setattr(quantized, "floating", taken)
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("no/where")
    with Log("log.jsonl", header({}, "dsp", "m", 0, kernels=[])):
        pass
    return tmp_path


def one_sentence(words: list[str]) -> str:
    """What a call prints that cannot succeed; nothing is written."""
    before = sorted(name for name in os.listdir() if name != "__pycache__")
    found = CliRunner().invoke(app, words)
    lines = [line for line in found.stderr.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Usage: ", "Try ", "warning: "))]
    assert found.exit_code == 2 and not found.stdout, (words, found.output)
    assert len(said) == 1 and said[0].lower().startswith("error: "), (words, found.stderr)
    assert sorted(name for name in os.listdir() if name != "__pycache__") == before, words
    return said[0]


@pytest.mark.parametrize(("command", "option"), CASES, ids=lambda text: text)
def test_a_wrong_option_is_one_sentence(command: str, option: str, here: Path) -> None:
    arguments = ARGUMENTS.get(command, ["net.py:build"])
    said = [one_sentence([command, *arguments, f"--{option}={value}"]) for value in VALUES]
    assert len(set(said)) > 1 or option == "kernel"  # any text is a kernel's name


@pytest.mark.parametrize("command", ["tune", "compile", "run", "profile", "explain", "coverage"])
def test_a_wrong_model_is_one_sentence(command: str, here: Path) -> None:
    for value in VALUES:
        if not value.startswith("-"):
            one_sentence([command, value])
