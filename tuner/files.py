"""Files that people name: opened only if they are regular, and held writable before work begins.

    with open(open_regular(path, os.O_RDONLY), "rb") as file: ...
    require_place(path)                  # writes nothing
    write_whole(path, data)              # all or nothing

They raise OSError, whose ``strerror`` says why.
"""

from __future__ import annotations

import os
import stat
import threading
from errno import EACCES, EINVAL, EISDIR, ENAMETOOLONG, ENOTDIR
from pathlib import Path


def open_regular(path: str | os.PathLike[str], flags: int) -> int:
    """The open file; a pipe or a device is refused: it would be waited for, or read for ever."""
    try:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except ValueError as error:  # a NUL in the path
        raise OSError(EINVAL, str(error)) from None
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    raise OSError(EINVAL, os.strerror(EISDIR) if stat.S_ISDIR(mode) else "Not a regular file")


def require_place(path: str | os.PathLike[str]) -> bool:
    """Whether a file exists that can be written; OSError if none can be written there or made."""
    try:
        real = Path(os.path.realpath(path))  # a link may lead to a file that is yet to be made
        exists = os.path.lexists(real)
    except ValueError as error:
        raise OSError(EINVAL, str(error)) from None
    if exists:
        os.close(open_regular(real, os.O_RDWR))
        return True
    if not stat.S_ISDIR(os.stat(real.parent).st_mode):
        raise OSError(ENOTDIR, os.strerror(ENOTDIR))
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise OSError(EACCES, os.strerror(EACCES))
    if len(os.fsencode(real.name)) > os.pathconf(real.parent, "PC_NAME_MAX"):
        raise OSError(ENAMETOOLONG, os.strerror(ENAMETOOLONG))
    return False


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file beside its place first, so that a broken write leaves what was there."""
    require_place(path)
    real = Path(os.path.realpath(path))
    near = real.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        near.write_bytes(data)
        near.replace(real)
    finally:
        near.unlink(missing_ok=True)
