"""Pictures and documents on each wire: as the vendor wants them, or refused by name, never left out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import InvalidRequest
from agentfootprint.messages import File, Image, LLMRequest, Message, Part, Text, ToolCall
from tests.agent.support import completed
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.server import ScriptedServer, says
from tests.providers.test_wires import every_dialect, read

HTTP = {
    dialect.name.removeprefix("http-"): dialect for dialect in DIALECTS if dialect.name.startswith("http-")
}

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()
PDF = base64.b64encode(b"%PDF-1.7 ....").decode()
NOTES = base64.b64encode("Größe: 7".encode()).decode()
URL = "https://x.example/cat.png"


def sent(name: str, *parts: Part) -> list[Any]:
    """The blocks of a user's message on a wire."""
    wire = HTTP[name].make("http://127.0.0.1:1")._wire
    body = wire.body(LLMRequest((Message.user(parts),)), "m", stream=False)
    [turn] = body.get("messages") or body["input"]
    blocks: list[Any] = turn["content"]
    return blocks


def anthropic_inline(kind: str, media_type: str, data: str) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


IMAGES: list[tuple[Image, str, str | None]] = [
    (Image(data=PNG, media_type="image/webp"), "image/webp", PNG),
    (Image(data=PNG), "image/png", PNG),
    (Image(data="/9j/4AAQ"), "image/jpeg", "/9j/4AAQ"),
    (Image(data="R0lGODlh"), "image/gif", "R0lGODlh"),
    (Image(data="UklGRgAA"), "image/webp", "UklGRgAA"),
    (Image(data="\n".join(PNG)), "image/png", PNG),
    (Image(url=f"data:image/png;base64,{PNG}"), "image/png", PNG),
    (Image(url="data:image/svg+xml,%3Csvg%2F%3E"), "image/svg+xml", base64.b64encode(b"<svg/>").decode()),
    (Image(url=URL), "", None),
]


@pytest.mark.parametrize(("image", "media_type", "data"), IMAGES)
def test_an_image_is_named_by_address_or_comes_with_its_media_type(
    image: Image, media_type: str, data: str | None
) -> None:
    address = image.url if data is None else f"data:{media_type};base64,{data}"
    source = {"type": "url", "url": URL}
    if data is not None:
        source = {"type": "base64", "media_type": media_type, "data": data}
    assert sent("anthropic", image) == [{"type": "image", "source": source}]
    assert sent("responses", image) == [{"type": "input_image", "image_url": address}]
    assert sent("chat", image) == [{"type": "image_url", "image_url": {"url": address}}]


def test_a_pdf_keeps_its_name() -> None:
    for file in (
        File(data=PDF, name="invoice.pdf"),
        File(url=f"data:application/pdf;base64,{PDF}", name="invoice.pdf"),
    ):
        block = anthropic_inline("document", "application/pdf", PDF)
        assert sent("anthropic", file) == [{**block, "title": "invoice.pdf"}]
        fields = {"filename": "invoice.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
        assert sent("responses", file) == [{"type": "input_file", **fields}]
        assert sent("chat", file) == [{"type": "file", "file": fields}]


def test_a_document_by_address() -> None:
    file = File(url="https://x.example/a.pdf")
    assert sent("anthropic", file) == [
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}
    ]
    assert sent("responses", file) == [{"type": "input_file", "file_url": "https://x.example/a.pdf"}]


@pytest.mark.parametrize(
    "file", [File(data=NOTES, media_type="text/markdown"), File(data=NOTES, name="notes.txt")]
)
def test_a_text_document_reaches_anthropic_as_text(file: File) -> None:
    [block] = sent("anthropic", file)
    assert block["source"] == {"type": "text", "media_type": "text/plain", "data": "Größe: 7"}


REFUSED: list[tuple[str, Part, str]] = [
    *((name, Image(), "an image has neither url nor data") for name in HTTP),
    *((name, File(name="a.pdf"), "the file 'a.pdf' has neither url nor data") for name in HTTP),
    *((name, Image(data="AAAA"), "an image needs its media_type") for name in HTTP),
    *((name, File(data="AAAA"), "a file needs its media_type") for name in HTTP),
    (
        "chat",
        File(url="https://x.example/a.pdf", name="a.pdf"),
        "'a.pdf' is given by its address.*give its data",
    ),
    ("anthropic", File(data="AAAA", name="a.xlsx"), "'a.xlsx' is application/vnd.*as PDF or as text only"),
    ("chat", ToolCall("c", "look"), "a tool_call part cannot be in a message of the user"),
]


@pytest.mark.parametrize(("name", "part", "why"), REFUSED)
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_a_vendor_does_not_take_is_refused_by_name_before_it_is_asked(
    name: str, part: Part, why: str, streamed: bool
) -> None:
    async with ScriptedServer([says({})]) as server, HTTP[name].make(server.url) as provider:
        request = LLMRequest((Message.user(["What is this?", part]),))
        asked = read(provider, request) if streamed else provider.complete(request)
        with pytest.raises(InvalidRequest, match=f"^{provider.name}: .*{why}") as caught:
            await asked
        assert not server.seen
    assert caught.value.provider == provider.name
    assert not caught.value.retryable


def test_an_image_of_the_assistant_is_refused_by_chat_rather_than_dropped() -> None:
    wire = HTTP["chat"].make("http://127.0.0.1:1")._wire
    request = LLMRequest((Message.assistant(["I drew", Image(url=URL)]),))
    with pytest.raises(InvalidRequest, match=r"cat\.png"):
        wire.body(request, "m", stream=False)


# ── in results of tools ─────────────────────────────────────────────────────────────────────────


@tool
async def camera(which: int) -> list[Any]:
    """A picture."""
    return [f"Camera {which}:", Image(data=PNG), Text("sharp")]


@tool
async def scan() -> File:
    """A document."""
    return File(data=PDF, name="scan.pdf")


CALLS: list[Any] = [("c1", "camera", {"which": 1}), ("c2", "camera", {"which": 2}), ("c3", "scan", {})]


async def after_the_tools(dialect: Dialect) -> list[Any]:
    """What is sent after three calls gave two pictures and a document, and once more a turn later."""
    scripts = [says(dialect.answer("", CALLS)), says(dialect.answer("Nice.")), says(dialect.answer("Bye."))]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        agent = Agent(provider, tools=[camera, scan])
        first = completed(await agent.run("Look."))
        await agent.run("Thanks.", messages=first.messages)
    turns, later = ((e.body.get("messages") or e.body["input"]) for e in server.seen[1:])
    assert later[: len(turns)] == turns
    found: list[Any] = turns
    return found


@every_dialect
async def test_pictures_and_documents_of_a_tool_reach_the_model(dialect: Dialect) -> None:
    turns = await after_the_tools(dialect)
    text = json.dumps(turns)
    assert (text.count(PNG), text.count(PDF)) == (2, 1)
    for told in ("Camera 1:", "Camera 2:", "sharp", "scan.pdf"):
        assert told in text


async def test_anthropic_takes_them_within_the_result() -> None:
    results = (await after_the_tools(HTTP["anthropic"]))[-1]["content"]
    assert [each["type"] for each in results] == ["tool_result"] * 3
    assert results[0]["content"] == [
        {"type": "text", "text": "Camera 1:"},
        anthropic_inline("image", "image/png", PNG),
        {"type": "text", "text": "sharp"},
    ]
    assert results[2]["content"] == [
        {**anthropic_inline("document", "application/pdf", PDF), "title": "scan.pdf"}
    ]


async def test_responses_takes_them_within_the_result() -> None:
    one, _, three = (await after_the_tools(HTTP["responses"]))[-3:]
    assert one["output"] == [
        {"type": "input_text", "text": "Camera 1:"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "input_text", "text": "sharp"},
    ]
    assert three["output"] == [
        {"type": "input_file", "filename": "scan.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    ]


async def test_chat_is_shown_them_behind_the_results_of_the_turn() -> None:
    *results, shown = (await after_the_tools(HTTP["chat"]))[-4:]
    assert [each["role"] for each in results] == ["tool"] * 3
    assert [each["content"] for each in results[:2]] == ["Camera 1:sharp", "Camera 2:sharp"]
    assert "follows" in results[2]["content"]
    assert shown["role"] == "user"
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    document = {"filename": "scan.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    assert shown["content"] == [
        {"type": "text", "text": "Returned by camera (c1):"},
        picture,
        {"type": "text", "text": "Returned by camera (c2):"},
        picture,
        {"type": "text", "text": "Returned by scan (c3):"},
        {"type": "file", "file": document},
    ]


@every_dialect
async def test_results_and_messages_without_text_are_sent_as_the_vendor_takes_them(dialect: Dialect) -> None:
    request = LLMRequest(
        (
            Message.user("Go."),
            Message.assistant(["\n\n", ToolCall("c1", "look")]),
            Message.tool("c1", "look", ""),
            Message.assistant(""),
            Message.user("Well?"),
        )
    )
    async with ScriptedServer([says(dialect.answer("."))]) as server, dialect.make(server.url) as provider:
        await provider.complete(request)
    body = server.seen[0].body
    if "anthropic" in dialect.name:
        _, asked, answered = body["messages"]
        assert [block["type"] for block in asked["content"]] == ["tool_use"], (
            "text without a visible character"
        )
        assert answered["content"] == [
            {"type": "tool_result", "tool_use_id": "c1"},
            {"type": "text", "text": "Well?"},
        ]
    elif "chat" in dialect.name:
        assert [(each["role"], each["content"]) for each in body["messages"][2:]] == [
            ("tool", ""),
            ("user", "Well?"),
        ]
    else:
        assert {"type": "function_call_output", "call_id": "c1", "output": ""} in body["input"]
