"""How results look: tables on a terminal, plain text elsewhere.

table(("kernel", "cycles"), [("conv", 901)], "kernels")
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tuned import Tuned

Cell = str | int | float


def print_json(data: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=2))


def warn(text: str) -> None:
    """A line for the person, on standard error, apart from the results."""
    print(text, file=sys.stderr)


def spell(cell: Cell) -> str:
    """A cell as text: thousands are separated, fractions have two decimals."""
    match cell:
        case bool() | str():
            return str(cell)
        case int():
            return f"{cell:,}"
        case _:
            return f"{cell:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], title: str = "") -> None:
    """Prints rows under their heads; numbers are aligned to the right."""
    cells = [[spell(cell) for cell in row] for row in rows]
    right = [any(not isinstance(row[i], str) for row in rows) for i in range(len(head))]
    if sys.stdout.isatty():
        _rich(head, cells, right, title)
        return
    widths = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    for line in [list(head), *cells]:
        spaced = (
            text.rjust(width) if side else text.ljust(width)
            for text, width, side in zip(line, widths, right, strict=True)
        )
        print("  ".join(spaced).rstrip())


def lines(found: Iterable[tuple[Callable[[int], str], str]]) -> None:
    """Lines that wrap themselves to a width, each with its style, which terminals show."""
    width = min(get_terminal_size((100, 24)).columns, 120)
    if not sys.stdout.isatty():
        for wrapped, _ in found:
            print(wrapped(width))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for wrapped, style in found:
        console.print(Text(wrapped(width), style))


def _rich(
    head: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], title: str
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title or None)
    for name, side in zip(head, right, strict=True):
        shown.add_column(name, justify="right" if side else "left")
    for line in cells:
        shown.add_row(*map(escape, line))
    Console().print(shown)


def kernel_table(tuned: Tuned) -> None:
    """The kernels of a model: cycles by default and now, against the bound; below, the model."""
    rows = tuned.kernels
    body: list[Sequence[Cell]] = [
        (row.name, row.kind, row.macs, row.default_cycles, row.cycles, row.bound,
         row.cycles / max(row.bound, 1)) for row in rows
    ]  # fmt: skip
    body.append(("total", "", sum(row.macs for row in rows), tuned.default_cycles, tuned.cycles,
                 tuned.bound, tuned.cycles / max(tuned.bound, 1)))  # fmt: skip
    head = ("kernel", "kind", "macs", "default", "cycles", "bound", "cycles/bound")
    table(head, body, "kernels")
