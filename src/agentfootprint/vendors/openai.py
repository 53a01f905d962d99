"""Where an API of OpenAI's form is, the vendor's or another server's, and what it is asked with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from .guard import is_local
from .http_client import ApiKey, Secret, key_of

__all__ = ["headers", "hint", "is_vendors_own", "server"]

BASE_URL = "https://api.openai.com/v1"
VARIABLE = "OPENAI_API_KEY"

_LOCAL_SERVERS = {
    11434: "Ollama listens there: start it with `ollama serve`",
    1234: "LM Studio listens there: start its server in the Developer tab or with `lms server start`",
    8000: "vLLM listens there: start it with `vllm serve MODEL`",
    8080: "llama.cpp listens there: start it with `llama-server -m MODEL.gguf --port 8080`",
}


def server(base_url: str | None, api_key: ApiKey | None, what: str) -> tuple[str, ApiKey]:
    """The address, default OPENAI_BASE_URL or the vendor's, and the key, default OPENAI_API_KEY. A server on
    this machine needs none.

    Raises:
        ConfigurationError: there is no key; `what` says who needs it.
    """
    url = base_url or os.environ.get("OPENAI_BASE_URL") or BASE_URL
    if api_key is None and is_local(url):
        return url, os.environ.get(VARIABLE) or "none"
    return url, key_of(api_key, VARIABLE, what)


def is_vendors_own(url: str) -> bool:
    return urlsplit(url).hostname == "api.openai.com"


def hint(url: str) -> str:
    """What to do when nothing listens at an address of this machine."""
    if not is_local(url):
        return ""
    port = urlsplit(url).port
    known = _LOCAL_SERVERS.get(port or 0)
    return known or "Nothing listens at that address of this machine: start the server, or correct base_url"


def headers(secret: str) -> Mapping[str, str]:
    return {"authorization": Secret(f"Bearer {secret}"), "content-type": "application/json"}
