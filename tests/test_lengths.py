"""A vector's length is the machine's: no shared file writes it as a number."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dovetail

ROOT = Path(dovetail.__file__).parent
PARTS = ("tir", "target", "schedule", "graph")
NUMBERS = (128, 1024, 2048)  # bytes and bits of the dsp's vectors and pairs
SIZES = ("Recent", "lru_cache", "OfOwner")  # of memories of results

# What is another number.
MEANT = {
    "graph/operators/cat.py": "bytes of a pixel that is stored as a whole",
    "schedule/offset.py": "what is added to signed bytes",
    "tir/places.py": "where buffers begin, on every machine",
}


def written(path: Path) -> Iterator[int]:
    """The lines of a file in which one of the numbers stands."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    calls = (node for node in nodes if isinstance(node, ast.Call))
    kept = (call for call in calls if ast.unparse(call.func).startswith(SIZES))
    memories = {part for call in kept for part in ast.walk(call)}
    for node in nodes:
        if isinstance(node, ast.Constant) and type(node.value) is int and node not in memories:
            if node.value in NUMBERS:
                yield node.lineno


def test_no_shared_file_writes_a_vectors_length() -> None:
    dsp = ROOT / "target" / "dsp"
    files = (path for part in PARTS for path in (ROOT / part).rglob("*.py"))
    lines = {str(path.relative_to(ROOT)): [*written(path)] for path in files
             if not path.is_relative_to(dsp)}  # fmt: skip
    found = {name: at for name, at in lines.items() if at}
    assert found.keys() == MEANT.keys(), found
