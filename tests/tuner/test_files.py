"""Places of files: what can be written there is found out, and nothing is written."""

import os
from pathlib import Path

import pytest

from dovetail.tuner.files import open_regular, require_place, write_whole


def why(path: Path | str) -> str:
    with pytest.raises(OSError) as caught:
        require_place(path)
    assert caught.value.strerror
    return caught.value.strerror


def test_a_place_is_a_file_or_a_name_in_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert not require_place(path)
    assert not path.exists()
    path.write_text("x")
    assert require_place(path)
    assert path.read_text() == "x"


def test_a_link_is_what_it_leads_to(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a")
    assert not require_place(link)
    (tmp_path / "a").write_text("x")
    assert require_place(link)
    link.unlink()
    link.symlink_to(tmp_path / "no" / "a")
    assert why(link) == "No such file or directory"
    link.unlink()
    link.symlink_to(link)
    assert why(link) == "Too many levels of symbolic links"


def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    assert why(tmp_path) == "Is a directory"
    assert why(tmp_path / "pipe") == why("/dev/null") == "Not a regular file"
    assert why(tmp_path / "no" / "a") == "No such file or directory"
    assert why(tmp_path / "file" / "a") == "Not a directory"
    assert why(tmp_path / ("n" * 300)) == "File name too long"
    assert why("a\0b") == "embedded null byte"
    assert why("") == "Is a directory"


def test_what_is_no_regular_file_is_not_opened() -> None:
    with pytest.raises(OSError, match="Not a regular file"):
        open_regular("/dev/zero", os.O_RDONLY)


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    link.symlink_to(path)
    write_whole(link, b"one")
    assert link.is_symlink() and path.read_bytes() == b"one"

    def full(near: Path, data: bytes) -> int:
        with near.open("wb") as file:
            file.write(data[:1])
        raise OSError("full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="full"):
        write_whole(path, b"two")
    assert path.read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "link"]
