"""Calls of the command line in this process."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from dovetail.driver.cli import app


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def ok(*words: str) -> str:
    """What a call prints that must succeed."""
    found = call(*words)
    assert found.exit_code == 0, found.output
    return found.stdout


def of_json(*words: str) -> Any:
    return json.loads(ok(*words, "--json"))
