"""The notebooks in tutorials/ run from top to bottom, and print what is stored in them."""

from pathlib import Path

import nbformat
import pytest

from tests.notebooks import NOTEBOOKS, executed, plain, plots, same, texts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_is_stored(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    came = executed(path, tmp_path)
    assert plots(came) and len(plots(came)) == len(plots(stored))
    for number, (old, new) in enumerate(zip(texts(stored), texts(came), strict=True), 1):
        assert same(old, new), (
            f"tutorials/{path.name}: code cell {number} must print what is stored:\n{old}\n"
            f"but it printed:\n{new}\nRun make tutorials where the new text is right."
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_of_no_computer(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 250_000
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    assert any(texts(notebook)) and plots(notebook)
    assert all(one == plain(one) for one in texts(notebook))
    assert "/home/" not in text and "site-packages" not in text.replace("[python]", "")


def test_both_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_tune_a_model",
        "02_write_and_schedule_a_kernel",
    ]


def test_texts_are_compared_as_the_docstring_says() -> None:
    assert same("97.8 % right, 1,234 cycles", "97.9 % right, 1,234 cycles")
    assert not same("97.8 % right, 1,234 cycles", "97.8 % right, 1,235 cycles")
    assert not same("0.50 0.50", "0.50 0.60") and not same("one 0.5", "two 0.5")
    assert plain("3 trials in 12.5 s (3.1 trials/s)") == "3 trials in [time] ([time])"
