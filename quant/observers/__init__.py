"""Which of its values a tensor shall hold: a file an observer, with its row in ``OBSERVERS``.

Every file of this folder is imported, so a new one needs nothing else.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules


def enter_all() -> None:
    """Enters the rows of all files."""
    for name in sorted(module.name for module in iter_modules(__path__)):
        import_module(f"{__name__}.{name}")


enter_all()
