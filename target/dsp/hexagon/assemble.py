"""Assembly text into Hexagon objects, and objects into programs, by LLVM's own tools.

LLVM's assembler knows which packets the hardware can issue, so that an object is also the proof
that every packet of a listing is legal on that version.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from .tools import HexagonError, tool

TRIPLE = "hexagon-unknown-linux-musl"
_ERROR = re.compile(r"^<stdin>:(\d+):\d+: error: (.*)$", re.MULTILINE)


class AssembleError(HexagonError):
    """LLVM's assembler refuses a packet."""


def assemble(text: str, version: int = 66) -> bytes:
    """The object of a listing for HVX ``version``; AssembleError shows the packet at fault."""
    features = f"-mcpu=hexagonv{version}", f"-mattr=+hvxv{version},+hvx-length128b"
    command = [tool("llvm-mc"), f"-triple={TRIPLE}", *features, "-filetype=obj"]
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    errors = done.stderr.decode(errors="replace")
    if done.returncode or ": error: " in errors:
        raise AssembleError(_complaint(text, errors, version))
    return done.stdout


def link(*objects: bytes) -> bytes:
    """A static program of the objects; HexagonError gives the linker's message."""
    return _linked("-static", *objects)


def merged(*objects: bytes) -> bytes:
    """One object of several."""
    return _linked("-r", *objects)


def _linked(option: str, *objects: bytes) -> bytes:
    with TemporaryDirectory(prefix="dovetail-") as folder:
        paths = [Path(folder, f"{number}.o") for number in range(len(objects))]
        for path, data in zip(paths, objects, strict=True):
            path.write_bytes(data)
        target = Path(folder, "program")
        command = [tool("ld.lld"), option, *map(str, paths), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise HexagonError(f"link: the objects must link, but got {done.stderr.strip()}")
        return target.read_bytes()


def data_object(name: str, data: bytes, version: int) -> bytes:
    """An object with bytes, from the symbol ``name`` to ``name_end``."""
    with TemporaryDirectory(prefix="dovetail-") as folder:
        path = Path(folder, "data")
        path.write_bytes(data)
        head = f'\t.section .rodata.{name},"a"\n\t.p2align 3\n\t.globl {name}, {name}_end\n'
        return assemble(f'{head}{name}:\n\t.incbin "{path}"\n{name}_end:\n', version)


@cache
def harness() -> tuple[bytes, ...]:
    """The objects that start a program, run its phases and count (once a process)."""
    options = "-O2", "-ffreestanding", "-fno-builtin", "-Wno-unused-command-line-argument"
    return (
        _compiled("harness.c", *options),
        _compiled("stubs.s", "-mhvx=v67", "-mhvx-length=128b"),
    )


def _compiled(name: str, *options: str) -> bytes:
    source = files(__package__).joinpath(name).read_bytes()
    language = "c" if name.endswith(".c") else "assembler"
    command = [tool("clang"), f"--target={TRIPLE}", "-mcpu=hexagonv67", *options]
    with TemporaryDirectory(prefix="dovetail-") as folder:
        target = Path(folder, "harness.o")
        command += ["-x", language, "-c", "-", "-o", str(target)]
        done = subprocess.run(command, input=source, capture_output=True)
        if done.returncode:
            raise HexagonError(f"{name}: clang must compile it, but got {done.stderr.decode()}")
        return target.read_bytes()


def _complaint(text: str, errors: str, version: int) -> str:
    found = _ERROR.search(errors)
    if not found:
        return f"assemble: LLVM must accept the listing for v{version}, but got {errors.strip()}"
    line = int(found[1])
    return (
        f"assemble: LLVM must accept every packet for v{version}, but line {line} got: {found[2]}\n"
        f"{_packet(text.splitlines(), line - 1)}"
    )


def _packet(lines: list[str], at: int) -> str:
    """The lines of the packet around line ``at``: from its opening to its closing brace."""
    at = min(at, len(lines) - 1)
    first = last = at
    while first and "{" not in lines[first] and "}" not in lines[first - 1]:
        first -= 1
    while "{" in lines[first] and "}" not in lines[last] and last + 1 < len(lines):
        last += 1
    return "\n".join(lines[first : last + 1])
