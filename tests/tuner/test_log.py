"""The log: what is written, what faults say, and that several writers lose nothing."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dovetail.tuner.log import Log, require_writable
from dovetail.tuner.records import LogError, TrialRecord, header, read, spell
from tests.tuner.logs import without_times

KERNEL = {"key": "k", "name": "conv", "form": {}, "space": "s", "default": {}}
HEAD = header({"dovetail": "1"}, "dsp", "m0", 0, kernels=[])
DELETE = "delete the line, and the next tune makes its trial again"


def trial(index: int, cycles: int = 7, **more: Any) -> TrialRecord:
    return TrialRecord("", index, "k0", {"u": index}, "ok", cycles=cycles, checked=True, **more)


def written(path: Path, count: int, head: dict[str, Any] = HEAD) -> bytes:
    with Log(path, head, append=True) as log:
        for index in range(count):
            log.append(trial(index, time={"measure": 0.5}))
    return path.read_bytes()


def refusal(path: Path, head: dict[str, Any] = HEAD) -> str:
    """The sentence that opening a log gives; the file stays as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LogError) as caught:
        Log(path, head)
    assert before is None or path.read_bytes() == before
    return str(caught.value)


def refused(run: Callable[[], object]) -> str:
    with pytest.raises(LogError) as caught:
        run()
    return str(caught.value)


def test_a_log_is_a_header_and_a_line_a_trial(tmp_path: Path) -> None:
    lines = written(tmp_path / "a.jsonl", 2).decode().splitlines()
    run = HEAD["run"]
    assert json.loads(lines[0]) == HEAD and len(run) == 16
    assert lines[1] == (
        f'{{"run":"{run}","index":0,"kernel":"k0","point":{{"u":0}},"status":"ok","cycles":7,'
        f'"checked":true,"message":"","nest":"","features":[],"time":{{"measure":0.5}}}}'
    )
    assert [record.index for record in read(tmp_path / "a.jsonl").records()] == [0, 1]


def test_seconds_stand_in_for_cycles() -> None:
    record = TrialRecord("r", 0, "k", {}, "ok", seconds=0.25)
    assert json.loads(spell(record))["seconds"] == 0.25 and "cycles" not in spell(record)
    assert record.cost == 0.25


def test_unknown_fields_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    written(path, 1)
    line = json.loads(spell(trial(1))) | {"run": HEAD["run"], "board": "b7"}
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    records = list(read(path).records())
    assert records[1].extra == {"board": "b7"} and json.loads(spell(records[1])) == line
    written(path, 3)
    assert [record.index for record in read(path).records()] == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_passed_over_and_then_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    whole = written(path, 3)
    path.write_bytes(whole[:-cut])
    assert len(list(read(path).records())) == 2
    assert path.read_bytes() == whole[:-cut]
    assert written(path, 3) == whole


def test_a_torn_header_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"schema":3,"ru')
    assert list(read(path).records()) == []
    written(path, 1)
    assert len(list(read(path).records())) == 1


def test_a_writer_cuts_off_what_another_tore_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Log(path, HEAD) as log:
        log.append(trial(0))
        with path.open("a") as other:
            other.write('{"run":"')
        log.append(trial(1))
    assert [record.index for record in read(path).records()] == [0, 1]


def test_of_two_writers_of_one_run_the_first_record_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Log(path, HEAD) as one, Log(path, HEAD) as two:
        assert one.append(trial(0, cycles=5)).cycles == 5
        assert two.append(trial(0, cycles=9)).cycles == 5
        two.append(trial(1))
        assert one.append(trial(1)).index == 1
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("{nonsense", f"each line must be a JSON object, but this one is not JSON; {DELETE}"),
        ("\udcff", f"each line must be a JSON object, but this one is not JSON; {DELETE}"),
        ("[" * 9999, f"each line must be a JSON object, but this one is not JSON; {DELETE}"),
        ("", f"each line must be a JSON object, but this one is blank; {DELETE}"),
        (" \t\r", f"each line must be a JSON object, but this one is blank; {DELETE}"),
        ("\0\0\0", f"each line must be a JSON object, but this one has NUL bytes; {DELETE}"),
        ("\0{}", f"each line must be a JSON object, but this one has NUL bytes; {DELETE}"),
        ("[1]", "each line must be a JSON object, but got list"),
        (
            '{"schema":1}',
            "the schema must be 3, but got 1; it is of another version, so tune into a new log",
        ),
        ('{"schema":3}', "a header needs 'run' of type str, but got None"),
        (
            '{"schema":3,"run":"x","versions":{},"target":"dsp","model":"m","seed":0,'
            '"kernels":[{"key":"k"}]}',
            "the kernels of a header need key, name, form, space, default each",
        ),
        (
            '{"schema":3,"run":"x","versions":{},"target":"dsp","model":"m","seed":0,'
            '"kernels":[{"key":[],"name":"n","space":"s","default":{}}]}',
            "the kernels of a header need key, name, form, space, default each",
        ),
        ('{"run":"RUN"}', "a record needs 'index' of type int, but got None"),
        ('{"run":"RUN","index":true}', "a record needs 'index' of type int, but got True"),
        (
            '{"run":"x","index":1,"kernel":"k","point":{},"status":"ok","cycles":3}',
            "a record must follow the header of its run 'x'",
        ),
        (
            '{"run":"RUN","index":1,"kernel":"k","point":{},"status":"fine","cycles":3}',
            "the status must be one of ok, invalid, compile, timeout, crash, incorrect, "
            "duplicate, but got 'fine'",
        ),
        (
            '{"run":"RUN","index":1,"kernel":"k","point":{},"status":"ok"}',
            "an ok record needs cycles or seconds, but got None",
        ),
        (
            '{"run":"RUN","index":1,"kernel":"k","point":{},"status":"ok","cycles":NaN}',
            "an ok record needs cycles or seconds, but got nan",
        ),
        (
            '{"run":"RUN","index":1,"kernel":"k","point":{},"status":"crash","time":3}',
            "'time' of a record must be of type dict, but got 3",
        ),
    ],
)
def test_a_corrupt_line_is_named(tmp_path: Path, line: str, rule: str) -> None:
    path = tmp_path / "a.jsonl"
    lines = written(path, 2).split(b"\n")
    text = line.replace("RUN", HEAD["run"]).encode(errors="surrogateescape")
    path.write_bytes(b"\n".join([*lines[:2], text, *lines[2:]]))
    with pytest.raises(LogError) as caught:
        read(path)
    assert str(caught.value) == f"log {path}, line 3: {rule}"
    assert refusal(path) == f"log {path}, line 3: {rule}"


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("target", header({"dovetail": "1"}, "dsp2", "m0", 0, kernels=[]), "'dsp', now 'dsp2'"),
        ("model", header({"dovetail": "1"}, "dsp", "m1", 0, kernels=[]), "'m0', now 'm1'"),
        ("seed", header({"dovetail": "1"}, "dsp", "m0", 1, kernels=[]), "0, now 1"),
        (
            "versions of dovetail",
            header({"dovetail": "2"}, "dsp", "m0", 0, kernels=[]),
            "'1', now '2'",
        ),
        ("kernels", header({"dovetail": "1"}, "dsp", "m0", 0, kernels=[KERNEL]), ""),
    ],
)
def test_another_run_is_refused(
    tmp_path: Path, name: str, other: dict[str, Any], said: str
) -> None:
    path = tmp_path / "a.jsonl"
    written(path, 1)
    shown = f" ({said})" if said else ""
    assert refusal(path, other) == (
        f"log {path}: a run resumes only with the same {name}, but the log was written with "
        f"another{shown}; append=True (--append) starts a new run in it"
    )
    written(path, 2, other)
    contents = read(path)
    assert [record.index for record in contents.records()] == [0, 0, 1]
    assert list(contents.headers) == [HEAD["run"], other["run"]]
    assert written(path, 1)  # and the first run can still be resumed


def test_a_run_that_must_not_resume(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Log(path, HEAD, resume=False).close()
    with pytest.raises(LogError) as caught:
        Log(path, HEAD, resume=False)
    assert str(caught.value) == (
        f"log {path}: with resume=False the log must not have this run, but it has trials of "
        f"{HEAD['run']}; resume or start a new log"
    )


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "a.jsonl"
    assert refused(lambda: require_writable(missing)) == (
        f"log {missing}: cannot be written: No such file or directory"
    )
    assert refusal(missing) == f"log {missing}: cannot be written: No such file or directory"
    assert refusal(tmp_path) == f"log {tmp_path}: cannot be written: Is a directory"
    with pytest.raises(LogError, match="cannot be read: No such file or directory"):
        read(missing)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """Reading such a file would wait for a writer, or never end."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, Path("/dev/full"), Path("/dev/null"), Path("/dev/zero")):
        assert refusal(path) == f"log {path}: cannot be written: Not a regular file"
        assert refused(partial(require_writable, path)) == (
            f"log {path}: cannot be written: Not a regular file"
        )
        assert refused(partial(read, path)) == (f"log {path}: cannot be read: Not a regular file")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    path = tmp_path / "a.jsonl"
    assert refusal(path) == f"log {path}: cannot be written: No space left on device"


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    with Log(path, HEAD) as log:
        written(path, 2)
        monkeypatch.setattr(os, "pread", lambda *_: b"")
        assert refused(lambda: log.append(trial(5))) == (
            f"log {path}: must only grow, but another program cut it"
        )


def test_a_damaged_line_can_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = written(path, 3).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    written(path, 3)
    assert [record.index for record in read(path).records()] == [0, 1, 2]


def test_without_a_path_the_log_is_in_memory() -> None:
    with Log(None, HEAD) as log:
        log.append(trial(0))
        assert log.known(trial(0)) is not None and log.known(trial(1)) is None


WRITER = """
import sys
from dovetail.tuner.log import Log
from dovetail.tuner.records import TrialRecord, header
head = header({"dovetail": "1"}, "dsp", "m0", int(sys.argv[2]), kernels=[])
with Log(sys.argv[1], head, append=True) as log:
    for index in range(150):
        log.append(TrialRecord("", index, "k0", {"text": "x" * index}, "ok", cycles=index + 1))
"""


def test_writers_in_many_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # Seed 1 twice: two writers of one run.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(seed)], env=environment)
        for seed in (0, 1, 1)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    contents = read(path)
    assert len(contents.headers) == 2
    assert [sorted(trials) for trials in contents.trials.values()] == [list(range(150))] * 2
    assert contents.lines == 2 + 2 * 150 == len(path.read_bytes().splitlines())


def test_logs_compare_without_times(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", 2)
    with Log(tmp_path / "b.jsonl", HEAD) as log:
        for index in (0, 1):
            log.append(trial(index, time={"measure": 0.9, "check": 1.0}))
    assert without_times(tmp_path / "a.jsonl") == without_times(tmp_path / "b.jsonl")
