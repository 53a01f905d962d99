"""What servers of tools send back, as parts of a message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...flow.codec import dumps
from ...messages import File, Image, Part, Text

if TYPE_CHECKING:
    from .secrets import Secrets
    from .session import Answer

__all__ = ["content_of", "data_of", "part_of"]


def part_of(block: Any, max_data: int, secrets: Secrets) -> Part:
    """A block of content, or the contents of a resource. Nothing that it only names is fetched."""
    kind = getattr(block, "type", None)
    if kind == "text":
        return Text(secrets.hide(block.text))
    if kind == "resource":
        return part_of(block.resource, max_data, secrets)
    if kind == "resource_link":
        said = f": {block.description}" if block.description else ""
        return Text(secrets.hide(f"[resource {block.uri} {block.name!r}{said}]"))
    if hasattr(block, "text"):
        return Text(secrets.hide(block.text))
    data, media_type = block.blob if hasattr(block, "blob") else block.data, block.mime_type
    size = len(data) * 3 // 4
    if size > max_data:
        return Text(f"[{media_type or 'data'} of {size:,} bytes left out: a result may have {max_data:,}]")
    if media_type is not None and media_type.startswith("image/"):
        return Image(data=data, media_type=media_type)
    uri = getattr(block, "uri", None)
    return File(data=data, media_type=media_type or "application/octet-stream", name=uri)


def data_of(structured: Any, parts: Sequence[Part]) -> Any:
    """The structured content, unless a text says the same: servers send it twice for older clients."""
    if structured is None:
        return None
    said = [_read(part.text) for part in parts if isinstance(part, Text)]
    # Servers put what is no object under a name, and a list into a text for each of its items.
    alone = isinstance(structured, dict) and len(structured) == 1
    meant = next(iter(structured.values())) if alone else structured
    return None if structured in said or meant in said or meant == said else structured


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def content_of(answer: Answer) -> Any:
    """What the model reads of an answer: text, parts, or data."""
    parts = list(answer.parts)
    if answer.data is not None:
        if not parts:
            return answer.data
        parts.append(Text(dumps(answer.data)))
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return parts or None
