"""The demo: real digits, int8 as good as float, a log, a plot."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovetail.driver.demo import main
from dovetail.tuner.records import read


def test_the_demo_shows_what_it_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(trials=16, folder=tmp_path / "demo")
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    (floats,) = [float(words[1]) for words in lines if words[:1] == ["float"]]
    (ints,) = [float(words[1]) for words in lines if words[:1] == ["int8"]]
    assert floats > 97
    assert ints >= floats - 0.5
    assert "all outputs are byte for byte those of the exact integer evaluation" in text
    assert any(words[:1] == ["total"] for words in lines)
    assert len(list(read(tmp_path / "demo" / "demo.jsonl").records())) == 16
    assert (tmp_path / "demo" / "demo.png").read_bytes().startswith(b"\x89PNG")
