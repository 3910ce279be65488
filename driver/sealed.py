"""A file of named parts that ends in a hash of all its other bytes: no damage goes unseen.

    data = seal({"model.json": b"{}"})
    unseal(data)                         # {"model.json": b"{}"}; SealError if one bit differs

It is a zip, whose comment is the hash: any zip program opens it. Nothing in it is read before the
hash is found right. The same parts give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

_MARK = b"sha256:"
_LENGTH = len(_MARK) + 64


class SealError(ValueError):
    """Bytes that ``seal`` did not make."""


def seal(parts: Mapping[str, bytes]) -> bytes:
    """The file's bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            entry = zipfile.ZipInfo(name)  # with a fixed date
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
        archive.comment = bytes(_LENGTH)
    body = stream.getvalue()[:-_LENGTH]
    return body + _of(body)


def unseal(data: bytes) -> dict[str, bytes]:
    """The parts, whose bytes are those that were sealed."""
    body, mark = data[:-_LENGTH], data[-_LENGTH:]
    if _of(body) != mark:
        raise SealError("unseal: the hash at the end must be that of the bytes before it")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _of(body: bytes) -> bytes:
    return _MARK + hashlib.sha256(body).hexdigest().encode()
