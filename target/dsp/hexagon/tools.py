"""The programs that assemble, link and run Hexagon code, and what to install when one is missing.

>>> missing()
[]
"""

from __future__ import annotations

import shutil
from functools import cache

from ...errors import MissingTool

__all__ = ["HexagonError", "MissingTool", "advice", "missing", "tool"]

_TOOLS = {  # how the program may be called, best first; the Debian or Ubuntu package that has it
    "clang": (("clang-19", "clang"), "clang-19"),
    "ld.lld": (("ld.lld-19", "ld.lld"), "lld-19"),
    "llvm-mc": (("llvm-mc-19", "llvm-mc"), "llvm-19"),
    "qemu-hexagon": (("qemu-hexagon", "qemu-hexagon-static"), "qemu-user"),
}


class HexagonError(RuntimeError):
    """A listing that assembled could not be linked or run."""


def missing() -> list[tuple[str, str]]:
    """(program, package) of everything that is not installed."""
    return [(name, package) for name, (_, package) in _TOOLS.items() if not _find(name)]


def advice() -> str:
    """One sentence saying what to install; empty when nothing is missing."""
    absent = missing()
    if not absent:
        return ""
    programs = ", ".join(name for name, _ in absent)
    packages = " ".join(package for _, package in absent)
    return (
        f"Hexagon code is run by LLVM 19 and QEMU, and {programs} was not found: "
        f"apt-get install {packages}"
    )


def tool(name: str) -> str:
    """The path of a program; MissingTool says what to install."""
    found = _find(name)
    if not found:
        raise MissingTool(advice())
    return found


@cache
def _installed(name: str) -> str:
    return next((path for one in _TOOLS[name][0] if (path := shutil.which(one))), "")


def _find(name: str) -> str:
    found = _installed(name)
    if not found:
        _installed.cache_clear()  # it may be installed while we run
    return found
