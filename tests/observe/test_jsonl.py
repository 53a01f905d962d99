from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint.errors import ConfigurationError, JournalInvalid
from agentfootprint.events import Emitted, Event, RunStarted, TextDelta
from agentfootprint.observe import Recorders, jsonl_observability, read_events

from .samples import AT, RUN, SAMPLES, any_event, text

FIXTURES = Path(__file__).parent / "fixtures"


def write(path: Path, *events: Event, max_bytes: int | None = None) -> None:
    recorder = jsonl_observability(path, max_bytes=max_bytes)
    for event in events:
        recorder.on_event(event)


def texts(path: Path) -> list[str]:
    return [event.text for event in read_events(path) if isinstance(event, TextDelta)]


def test_every_kind_of_event_comes_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl", *SAMPLES)
    assert list(read_events(tmp_path / "events.jsonl")) == list(SAMPLES)


@settings(deadline=None)
@given(st.lists(any_event, max_size=5))
def test_any_events_come_back_as_they_were(events: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write(path, *events)
        assert list(read_events(path)) == events


def test_a_line_is_flat_json_with_type_run_time_and_step_first(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, text("ü\u2028\n"))
    [line] = path.read_bytes().splitlines(keepends=True)
    assert line.endswith(b"\n")
    assert list(json.loads(line).items()) == [
        ("v", 1), ("type", "model.text"), ("run_id", RUN), ("at", AT), ("step", None), ("text", "ü\u2028\n"),
    ]  # fmt: skip


def test_lines_written_by_the_first_version_are_read() -> None:
    assert list(read_events(FIXTURES / "events-v1.jsonl")) == list(SAMPLES)


def test_a_second_recorder_appends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, text("a"))
    write(path, text("b"))
    assert texts(path) == ["a", "b"]


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, text("a"))
    assert path.stat().st_mode & 0o077 == 0


@settings(deadline=None)
@given(st.integers(0, 400))
def test_a_file_cut_anywhere_reads_up_to_there_and_can_be_continued(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write(path, *(text(str(n)) for n in range(4)))
        whole = path.read_bytes()
        ends = [n + 1 for n, byte in enumerate(whole) if byte == 10]
        # A line without its newline only is complete.
        complete = [str(n) for n, end in enumerate(ends) if end - 1 <= cut]
        path.write_bytes(whole[:cut])
        assert texts(path) == complete
        write(path, text("next"))
        assert texts(path) == [*complete, "next"]


def line(**data: object) -> bytes:
    return json.dumps({"v": 1, "type": "model.text", "run_id": "r", "at": 1.0, "step": None, **data}).encode()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line(text="x", type="model.song"), "'model.song', which is not in the catalogue"),
        (line(text="x", type=["model.text"]), "not in the catalogue"),
        (line(text="x", v=2), "schema version 2"),
        (line(text="x", v=True), "schema version True"),
        (line(text=7), "text"),
        (line(), "text"),
        (line(text="x", colour="red"), "no field 'colour'"),
        (line(text="x", at="now"), "at"),
        (b'["model.text"]', "JSON object"),
        (b"\x89PNG\r", "no JSON"),
        (b"null", "JSON object"),
    ],
)
def test_what_is_no_event_of_this_version_is_refused_naming_the_line(
    tmp_path: Path, bad: bytes, says: str
) -> None:
    path = tmp_path / "events.jsonl"
    write(path, text("a"))
    path.write_bytes(path.read_bytes() + bad + b"\n")
    events = read_events(path)
    assert next(events) == text("a")
    with pytest.raises(JournalInvalid) as refused:
        next(events)
    assert "line 2 of" in str(refused.value)
    assert says in str(refused.value)


def test_a_lone_surrogate_of_a_model_leaves_the_file_readable(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, text("a\ud83d"), text("b"))
    first, second = texts(path)
    assert first.startswith("a�")
    assert second == "b"


def test_what_has_no_json_form_is_a_counted_failure_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    recorders = Recorders()
    handle = recorders.attach(jsonl_observability(path))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    dispatch(Emitted(RUN, AT, None, "bad", object()))
    dispatch(text("a"))
    assert handle.failures == 1
    assert texts(path) == ["a"]


def test_a_full_disk_is_a_counted_failure_and_the_file_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    recorders = Recorders()
    handle = recorders.attach(jsonl_observability(path))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    dispatch(text("a"))
    with monkeypatch.context() as full:
        write_all = os.write
        full.setattr(os, "write", lambda fd, data: write_all(fd, data[:30]))
        dispatch(text("lost"))
    dispatch(text("b"))
    assert texts(path) == ["a", "b"]
    assert isinstance(handle.last_error, OSError)


def test_a_device_that_is_always_full_never_raises_at_the_run() -> None:
    recorders = Recorders()
    handle = recorders.attach(jsonl_observability("/dev/full"))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    dispatch(text("a"))
    assert isinstance(handle.last_error, OSError)


def test_a_path_that_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        jsonl_observability(tmp_path / "missing" / "events.jsonl")
    with pytest.raises(ConfigurationError, match="s a directory"):
        jsonl_observability(tmp_path)


async def test_closed_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    recorders = Recorders()
    handle = recorders.attach(jsonl_observability(path))
    dispatch = recorders.snapshot()
    assert dispatch is not None
    dispatch(text("a"))
    await recorders.aclose()
    dispatch(text("b"))
    assert texts(path) == ["a"]
    assert handle.failures == 1


def test_an_open_file_is_written_and_left_open() -> None:
    file = io.StringIO()
    jsonl_observability(file).on_event(text("ü"))
    assert json.loads(file.getvalue())["text"] == "ü"
    with pytest.raises(ConfigurationError, match="needs a path"):
        jsonl_observability(file, max_bytes=100)


def test_a_pipe_can_be_a_path(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write(fifo, text("a"))
    assert json.loads(os.read(reader, 4096))["text"] == "a"
    os.close(reader)


def test_a_file_that_is_full_is_put_aside_and_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    size = len(line(text="000")) - 5  # as written: no spaces
    write(path, *(text(f"{n:03}") for n in range(10)), max_bytes=3 * size)
    old = tmp_path / "events.jsonl.1"
    kept = texts(old) + texts(path)
    assert kept == [f"{n:03}" for n in range(10)][-len(kept) :]
    assert len(kept) >= 4
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "events.jsonl.1"]
    with pytest.raises(ConfigurationError, match="max_bytes=0"):
        jsonl_observability(path, max_bytes=0)


def test_a_rotation_that_fails_goes_on_in_the_full_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    (tmp_path / "events.jsonl.1").mkdir()
    recorder = jsonl_observability(path, max_bytes=1)
    recorder.on_event(text("a"))
    with pytest.raises(OSError, match="directory"):
        recorder.on_event(text("lost"))
    (tmp_path / "events.jsonl.1").rmdir()
    recorder.on_event(text("b"))
    assert texts(tmp_path / "events.jsonl.1") == ["a"]
    assert texts(path) == ["b"]


def test_several_recorders_rotate_one_file_without_losing_more_than_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    one, other = (jsonl_observability(path, max_bytes=1000) for _ in range(2))
    for n in range(9):
        one.on_event(text(f"{n}a"))
        other.on_event(text(f"{n}b"))
    kept = texts(tmp_path / "events.jsonl.1") + texts(path)
    assert kept == [f"{n}{who}" for n in range(9) for who in "ab"][-len(kept) :]
    assert len(kept) > 8


def test_threads_share_a_recorder_without_mixing_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    recorder = jsonl_observability(path)

    def work(name: str) -> None:
        for n in range(200):
            recorder.on_event(text(f"{name}{n}" + "x" * 300))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts(path)) == 800


def test_processes_share_a_file_without_mixing_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    script = (
        "import sys\n"
        "from agentfootprint.events import TextDelta\n"
        "from agentfootprint.observe import jsonl_observability\n"
        "recorder = jsonl_observability(sys.argv[1])\n"
        "for n in range(300):\n"
        "    recorder.on_event(TextDelta(sys.argv[2], 1.0, None, str(n) + 'x' * 5000))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], env=environment) for name in "ab"
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    for name in "ab":
        numbers = [
            e.text.rstrip("x") for e in read_events(path) if isinstance(e, TextDelta) and e.run_id == name
        ]
        assert numbers == [str(n) for n in range(300)]


def test_a_stored_identity_is_checked_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, RunStarted(RUN, AT, None, "a", None, "hi"))
    data = json.loads(path.read_bytes())
    path.write_text(json.dumps({**data, "identity": {"tenant": "a\x00b"}}) + "\n")
    with pytest.raises(JournalInvalid, match="identity"):
        list(read_events(path))
