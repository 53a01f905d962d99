"""Pictures and documents in the form that vendors take: an address, or base64 with its media type."""

from __future__ import annotations

import base64
import mimetypes
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ..errors import InvalidRequest
from ..messages import File, Image

__all__ = ["Inline", "called", "refusal", "source"]

# How the base64 of a kind of file begins.
_BEGINNINGS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
}


class Inline(NamedTuple):
    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


def source(part: Image | File, provider: str) -> str | Inline:
    """Where a part's content is: its address, or the content itself, also when it was given as a data URL.

    Raises:
        InvalidRequest: there is no content, or nothing says of which media type it is.
    """
    if part.url is not None and not part.url.startswith("data:"):
        return part.url
    if part.url is not None:
        head, _, data = part.url.removeprefix("data:").partition(",")
        media_type, *parameters = head.split(";")
        if "base64" not in parameters:
            data = base64.b64encode(unquote_to_bytes(data)).decode()
        return Inline(part.media_type or media_type or "text/plain", data)
    if part.data is None:
        raise refusal(provider, f"{called(part)} has neither url nor data")
    data = part.data if part.data.isalnum() else "".join(part.data.split())
    found = part.media_type or _looks_like(data)
    if found is None and isinstance(part, File) and part.name:
        found = mimetypes.guess_type(part.name)[0]
    if found is None:
        raise refusal(provider, f"{called(part)} needs its media_type: its content does not tell it")
    return Inline(found, data)


def called(part: Image | File) -> str:
    """How messages call the part."""
    if isinstance(part, File):
        return f"the file {part.name!r}" if part.name else "a file"
    return f"the image {part.url!r}" if part.url and not part.url.startswith("data:") else "an image"


def refusal(provider: str, why: str) -> InvalidRequest:
    """The error for what this side can see that the vendor does not take."""
    return InvalidRequest(f"{provider}: {why}", provider=provider)


def _looks_like(data: str) -> str | None:
    return next((kind for begin, kind in _BEGINNINGS.items() if data.startswith(begin)), None)
