"""Recorded traffic of vendors, as VCR writes it: which provider it is for, and a script that plays it again.

Ours lie in `recordings/`, each with what is expected of it. AGENTFOOTPRINT_RECORDINGS may name a folder with
more, such as another project's: of those it is expected that every answer is whole, or an error by its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from agentfootprint.providers import (
    AnthropicProvider,
    BedrockProvider,
    HTTPAnthropicProvider,
    HTTPOpenAIProvider,
    OpenAIProvider,
)
from tests.providers.server import Exchange, Script

__all__ = ["Recorded", "Recording", "recordings"]

PIECE = 7
"""Bytes that a stream is sent in at once: no frame comes whole."""

Make = Callable[[str], Any]


@dataclass(frozen=True)
class Recorded:
    """One answer."""

    status: int
    content_type: str
    body: bytes
    expected: dict[str, Any] | None

    @property
    def streamed(self) -> bool:
        return "event-stream" in self.content_type or "eventstream" in self.content_type

    async def script(self, exchange: Exchange) -> None:
        await exchange.head(self.status, content_type=self.content_type, transfer_encoding="chunked")
        size = PIECE if self.streamed else 10_000
        for at in range(0, len(self.body), size):
            await exchange.chunk(self.body[at : at + size])
        await exchange.end()


@dataclass(frozen=True)
class Recording:
    """The answers of one model's server, in order, and a provider for them."""

    name: str
    make: Make
    answers: tuple[Recorded, ...]

    @property
    def scripts(self) -> list[Script]:
        return [each.script for each in self.answers]


def recordings() -> Iterator[Recording]:
    more = os.environ.get("AGENTFOOTPRINT_RECORDINGS")
    for folder in (Path(__file__).with_name("recordings"), *([Path(more)] if more else [])):
        for file in sorted(folder.glob("*.yaml")):
            by_server: dict[tuple[str, str], list[Recorded]] = {}
            for step in yaml.safe_load(file.read_text())["interactions"]:
                url = urlsplit(step["request"]["uri"])
                key = (url.hostname or "", unquote(url.path).removesuffix("-stream"))
                by_server.setdefault(key, []).append(_recorded(step))
            for (host, path), answers in by_server.items():
                for how, make in _providers(host, path):
                    yield Recording(f"{file.stem}-{how}", make, tuple(answers))


def _recorded(step: dict[str, Any]) -> Recorded:
    response = step["response"]
    headers = {name.lower(): values for name, values in response["headers"].items()}
    kind = headers.get("content-type", "")
    parsed = response.get("parsed_body")
    body = response["body"]["string"] if parsed is None else json.dumps(parsed)
    return Recorded(
        response["status"]["code"],
        kind if isinstance(kind, str) else kind[0],
        body if isinstance(body, bytes) else body.encode(),
        step.get("expected"),
    )


def _providers(host: str, path: str) -> list[tuple[str, Make]]:
    """Each provider that speaks what stands at an address, by a name."""

    def made(kind: Any, base: str = "", **options: Any) -> Make:
        return lambda url: kind("m", api_key="none", base_url=url + base, **options)

    if path.startswith("/model/") and path.endswith("/converse"):
        model = path.split("/")[2]
        return [("http", lambda url: BedrockProvider(model, api_key="none", endpoint_url=url))]
    if host == "api.anthropic.com" and path.endswith("/messages"):
        return [("http", made(HTTPAnthropicProvider)), ("sdk", made(AnthropicProvider))]
    for ending, api in (("/chat/completions", "chat"), ("/responses", "responses")):
        if path.endswith(ending):
            base = path.removesuffix(ending)
            kinds = (("http", HTTPOpenAIProvider), ("sdk", OpenAIProvider))
            return [(how, made(kind, base, api=api)) for how, kind in kinds]
    return []  # Not a model's server.
