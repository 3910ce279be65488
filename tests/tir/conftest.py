"""In these tests, what each pass gives is verified."""

from __future__ import annotations

import pytest

from dovetail.tir.passes.checked import VARIABLE


@pytest.fixture(autouse=True)
def verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
