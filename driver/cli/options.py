"""The app of the command line, the options that commands share, and how wrong input ends."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from inspect import Signature
from pathlib import Path
from typing import Annotated, Generic, ParamSpec, TextIO

import typer

from .. import printed
from ..errors import user_errors
from .option_records import expanded, gathered

P = ParamSpec("P")

app = typer.Typer(
    name="dovetail",
    help="Compiles PyTorch models to int8 code for a simulated DSP, and tunes it.",
    epilog="\b\nExamples:\n"
    "  dovetail tune resnet8 --trials 256 --log run.jsonl\n"
    "  dovetail profile resnet8 --log run.jsonl\n"
    "  dovetail COMMAND --help                      # has an example of each command",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
zoo_app = typer.Typer(help="The models that come with dovetail.", no_args_is_help=True)
app.add_typer(zoo_app, name="zoo")

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A zoo name, a .pt2 path, file.py:kernel for a prim_func, or file.py:function, which "
        "returns "
        "(module, inputs) or (module, inputs, calibration); inputs: a tuple of arguments, one "
        "tensor, or a dict of keywords.",
    ),
]
Saved = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="As for tune, or a file that compile --output wrote."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Target = Annotated[
    str,
    typer.Option(
        help="The machine: dsp, or with fields that differ: 'dsp(threads=1)'; dovetail machine "
        "lists all."
    ),
]
LogIn = Annotated[Path | None, typer.Option("--log", help="A log of tune to take points from.")]
Batches = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="FILE.py:FUNCTION",
        help="Its function returns an iterable of inputs. Default: the model's own.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Save the compiled model to this file.")
]
Brought = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="FILE.py:FUNCTION",
        help="For a kernel: its function (func, machine) returns the Template to use.",
    ),
]
Lifted = Annotated[
    bool, typer.Option("--lift/--no-lift", help="Whether a kernel is lifted before its schedule.")
]
Workers = Annotated[
    int | None,
    typer.Option(help="How many worker processes; 0: none but this one. Default: one a core."),
]


class Command(Generic[P]):
    """A command whose records are options; wrong input becomes one sentence and code 2, warnings
    become lines."""

    def __init__(self, run: Callable[P, None]) -> None:
        functools.update_wrapper(self, run)
        self.run = run

    @property
    def __signature__(self) -> Signature:
        """The options, read when typer asks, so that every row is there."""
        return expanded(self.run)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        warnings.showwarning = _warning
        try:
            self.run(*args, **gathered(self.run, kwargs))
        except user_errors() as error:
            printed.warn(f"error: {error}")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            printed.warn("interrupted")
            raise typer.Exit(130) from None


def command(text: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A command of the app with examples behind its help."""

    def enter(run: Callable[P, None]) -> Callable[P, None]:
        return app.command(epilog=text)(Command(run))

    return enter


def _warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):
        printed.warn(f"warning: {message}")
