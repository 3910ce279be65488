"""A person's own kernel on the command line: compile, tune, replay and explain take one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.driver import own_kernels
from tests.driver.calls import call, of_json, ok

MORE = '''

def made():
    return BLEND


def bare(x: object, y: object):
    """Is no prim_func."""


def broken(func, machine):
    raise RuntimeError("no\\nluck")


number = 7
'''
BLEND = "mine.py:BLEND"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a mine.py in it."""
    text = Path(own_kernels.__file__).read_text()
    (tmp_path / "mine.py").write_text(text + MORE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


TUNE = ("tune", BLEND, "--trials", "4", "--log", "run.jsonl", "--workers", "0",
        "--template", "mine.py:strides")  # fmt: skip


def test_a_kernel_is_tuned_compiled_and_replayed(here: Path) -> None:
    found = of_json(*TUNE)
    assert list(found) == [
        "model", "target", "cycles", "default_cycles", "bound", "template", "point", "trace",
        "cost", "listing", "missing", "trials", "seconds", "trials_per_second", "status_counts",
        "log",
    ]  # fmt: skip
    assert (found["model"], found["template"]) == (BLEND, "strides")
    assert found["trials"] == 4 and sum(found["status_counts"].values()) == 4
    assert found["trace"][0] == f'sch.split("j", (None, {found["point"]["lanes"]}))'
    more = ("--template", "mine.py:strides")
    for name in (BLEND, "mine.py:made"):
        assert of_json("compile", name, "--log", "run.jsonl", *more)["point"] == found["point"]
    again = of_json("replay", "run.jsonl", BLEND, "--mode", "verify", *more)
    assert again["cycles"] == found["cycles"] and [row["same"] for row in again["drift"]] == [True]


def test_plain_text_is_for_people(here: Path) -> None:
    text = ok(*TUNE).splitlines()
    assert text[0].startswith("blend: ") and text[0].endswith(" cycles on dsp, bound 31")
    assert text[1].startswith("template strides: lanes=")
    assert text[2].startswith('    sch.split("j", (None, ')
    assert "cycles by default; 4 trials in " in text[-1]
    again = ok("replay", "run.jsonl", BLEND, "--mode", "verify", "--template", "mine.py:strides")
    assert again.endswith("blend: repeats\n")
    assert "bound 200\ntemplate " in ok("compile", "mine.py:ROWS", "--no-lift")


def test_a_kernel_is_explained(here: Path) -> None:
    text = ok("explain", BLEND)
    assert text.startswith("blend: kernel, ") and "rounding_halving_add" in text
    found = of_json("explain", BLEND, "--rewrite-limit", "0", "--kernel", "bl")
    assert found["exact"] and [row["name"] for row in found["kernels"]] == ["blend"]
    assert "rewrites interpreter and compiled code give the" in ok("explain", BLEND, "--bisect")


def test_a_long_expansion_is_explained(here: Path) -> None:
    assert " x divide (as no row has it): a // b -> " in ok("explain", "mine.py:DIVIDE")


WRONG = [
    (("compile", "mine.py:none"), "model: mine.py must have a function 'none', but it has none"),
    (("compile", "mine.py:number"),
     "model: mine.py must have a function 'number', but it has int of that name"),
    (("compile", "mine.py:bare"),
     "model: mine.py:bare must be a prim_func or need no arguments, but it needs x, y; a kernel "
     "is decorated with @dovetail.prim_func"),
    (("compile", BLEND, "-o", "m.dovetail"),
     "output: mine.py:BLEND is a kernel, which is not saved; --json prints it"),
    (("tune", BLEND, "--calibration", "mine.py:made"),
     "calibration: mine.py:BLEND is a kernel, which takes none, but it was given"),
    (("tune", BLEND, "--template", "mine.py:number"),
     "template: mine.py must have a function 'number', but it has int of that name"),
    (("tune", BLEND, "--template", "mine.py:BLEND"),
     "template: mine.py:BLEND must be a function, but is a prim_func"),
    (("tune", BLEND, "--template", "mine.py:broken"),
     "template: broken must run for the kernel blend, but raised RuntimeError: no luck"),
    (("tune", "mine.py:ROWS", "--template", "mine.py:strides"),
     "template: strides must take the kernel rows, but gave None for it"),
    (("compile", "resnet8", "--template", "mine.py:strides"),
     "template: resnet8 must be a kernel, but is a model"),
    (("compile", "resnet8", "--no-lift"), "no-lift: resnet8 must be a kernel, but is a model"),
    (("explain", BLEND, "--kernel", "conv"),
     "kernel: must be a part of the name of one of blend, but got 'conv'"),
    *(
        ((word, BLEND),
         "model: mine.py:BLEND must be a model, but is a kernel, which compile, tune, replay and "
         "explain take")
        for word in ("run", "profile", "coverage")
    ),
    (("replay", "none.jsonl", BLEND), "log none.jsonl: cannot be read: No such file or directory"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda one: "")
def test_wrong_input_is_one_sentence(words: tuple[str, ...], said: str, here: Path) -> None:
    found = call(*words)
    assert (found.exit_code, found.stderr, found.stdout) == (2, f"error: {said}\n", "")
    assert sorted(path.name for path in here.iterdir() if path.suffix) == ["mine.py"]
