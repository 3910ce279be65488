"""Executes the notebooks of tutorials/, and stores them with their outputs.

    python -m tests.notebooks            # make tutorials: all of them, stored

Stored text is plain: paths of this computer stand as ``[dovetail]`` and ``[python]``, times as
``[time]``, and what goes to standard error is left out. The test that executes the notebooks holds
what they print to what is stored: numbers with a decimal point to a hundredth, all else exactly.
"""

from __future__ import annotations

import re
import sys
import tempfile
from math import isclose
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))

_TIMES = re.compile(r"\b\d+(\.\d+)? (s|ms|us)\b|\b\d+(\.\d+)? trials/s")
_DECIMAL = re.compile(r"-?\d+\.\d+")


def executed(path: Path, folder: Path) -> Any:
    """The notebook with the outputs of this run, in their stored form; it works in ``folder``."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": folder}},
    ).execute()  # fmt: skip
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_stored(output) for output in cell.outputs if not _is_error(output)]
    notebook.metadata.pop("widgets", None)
    return notebook


def _is_error(output: Any) -> bool:
    return bool(output.get("name") == "stderr")


def _stored(output: Any) -> Any:
    if "text" in output:
        output.text = plain(output.text)
    if "text/plain" in output.get("data", {}):
        output.data["text/plain"] = plain(output.data["text/plain"])
    return output


def plain(text: str) -> str:
    """Text without what differs from one computer or run to the next."""
    for place, name in ((str(ROOT), "[dovetail]"), (sys.prefix, "[python]")):
        text = text.replace(place, name)
    return _TIMES.sub("[time]", text)


def texts(notebook: Any) -> list[str]:
    """What each code cell printed or gave, as one text a cell."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts = [output.get("text", "") + output.get("data", {}).get("text/plain", "")
                     for output in cell.outputs]  # fmt: skip
            found.append("".join(parts))
    return found


def same(stored: str, came: str) -> bool:
    """Whether two texts say the same: decimals to a hundredth, all else to the letter."""
    if _DECIMAL.sub("#", stored) != _DECIMAL.sub("#", came):
        return False
    pairs = zip(_DECIMAL.findall(stored), _DECIMAL.findall(came), strict=True)
    return all(isclose(float(a), float(b), rel_tol=0.01, abs_tol=0.01) for a, b in pairs)


def plots(notebook: Any) -> list[str]:
    """The pictures, as base64 text."""
    return [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]


def main() -> None:
    """Stores all notebooks, once all of them ran."""
    made = {}
    for path in NOTEBOOKS:
        print(f"{path.relative_to(ROOT)} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            made[path] = executed(path, Path(folder))
    for path, notebook in made.items():
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
