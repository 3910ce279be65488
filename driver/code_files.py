"""Compiled code as files: assembly, objects, programs.

file = place_of("elf", "digits", None)      # digits.elf
write(tuned, "elf", file)
"""

from __future__ import annotations

from pathlib import Path

from ..options import checks
from ..target.linked import FORMS, LinkedKernel, LinkedProgram
from ..tuner import files
from .errors import InputError
from .executed import emitted
from .own import CompiledKernel
from .targets import family_of
from .tuned import Tuned

SUFFIXES = {"asm": ".s", "obj": ".o", "elf": ".elf"}


def place_of(form: str, model: str, output: Path | None) -> Path:
    """The file of a form: ``output``, or one that is named after the model."""
    form = checks.choice("compile: emit", form, FORMS)
    stem = model.rpartition(":")[2] if ":" in model else Path(model).stem
    return Path(f"{stem}{SUFFIXES[form]}") if output is None else output


def write(code: Tuned | CompiledKernel, form: str, path: Path) -> None:
    """Writes the code whole or not at all."""
    data = emitted(code, form) if isinstance(code, Tuned) else _kernel(code, form)
    try:
        files.write_whole(path, data)
    except OSError as error:
        raise InputError(f"compile: {path} cannot be written: {error.strerror}") from None


def _kernel(code: CompiledKernel, form: str) -> bytes:
    """A person's own kernel has no program around it that would bring its operands."""
    if form == "elf":
        raise InputError(
            f"emit: an elf is of a whole model, but {code.func.name!r} is a kernel; take asm or obj"
        )
    emit = family_of(code.machine).emit
    if emit is None:
        raise InputError(f"emit: the target must have files, but {code.target} has none")
    places = tuple(place.size for place in code.program.places)
    phases = [(0, number) for number in range(len(code.program.phases))]
    data: bytes = emit(LinkedProgram({}, [LinkedKernel(code.code.listing, places)], phases), form)
    return data
