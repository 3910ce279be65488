"""The command line: commands for the public functions, and for questions about a model.

dovetail tune resnet8 --trials 256 --log run.jsonl
dovetail profile resnet8 --log run.jsonl --packets

Wrong input ends with one sentence on standard error and code 2; Ctrl-C with 130, the log kept.
"""

from __future__ import annotations

# The commands enter the app, in the order in which --help lists them.
from . import tuning  # isort: split

from . import compiling  # isort: split

from . import asking
from .options import app

__all__ = ["app", "asking", "compiling", "main", "tuning"]


def main() -> None:
    """The entry point of the command."""
    app(prog_name="dovetail")
