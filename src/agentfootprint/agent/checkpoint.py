"""A paused or broken-off run as text, and the checks before it may go on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import CheckpointTampered, CheckpointVersion, IdentityInvalid
from ..flow import Ask
from ..flow.codec import decode, dumps, encode, mended, portable
from ..identity import MemoryIdentity
from ..messages import Usage

__all__ = ["CHECKPOINT_SCHEMA", "Checkpoint", "pack"]

CHECKPOINT_SCHEMA = 1
"""Version of the text form. Texts of every version that was released stay readable in the tests."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run that stands still, with everything needed to go on, also in another process.

    The text form is JSON; what a person is asked, for whom and until when stands in it in clear, the
    run itself (state and journal) is packed. It holds raw values, secrets included: encrypt it where
    it rests.

    Attributes:
        agent: name of the agent that paused.
        identity: whom the run is for.
        asks: the open questions; empty after a crash.
        created, expires: seconds since the epoch; `expires` None is never.
        tools: fingerprints of the tools whose calls wait.
        usage: tokens so far.
        packed, texts: the run as it stands in the text; `run` unpacks it.
        signature: HMAC-SHA-256 with the agent's `checkpoint_key`, as hex; None without one.
    """

    agent: str
    identity: MemoryIdentity | None
    created: float
    expires: float | None
    tools: Mapping[str, str]
    asks: list[Ask]
    usage: Usage
    packed: str = field(repr=False)
    texts: list[str] = field(repr=False)
    signature: str | None = None
    _run: Mapping[str, Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def run(self) -> Mapping[str, Any]:
        """The run as data. `agent.resume` unpacks it only after it knows the text as its own.

        Raises:
            CheckpointTampered: it is not what was packed.
        """
        if self._run is None:
            try:
                run = _unpack(self.packed, self.texts)
            except (ValueError, TypeError, LookupError, RecursionError, zlib.error) as error:
                raise CheckpointTampered(f"the checkpoint was cut or changed: {error}") from None
            object.__setattr__(self, "_run", run)
            return run
        return self._run

    @property
    def run_id(self) -> str:
        return str(self.run["run"])

    @property
    def digest(self) -> str:
        """SHA-256 of the content, as hex: what the state store knows the checkpoint by."""
        return hashlib.sha256(_content(self._body())).hexdigest()

    def _body(self) -> dict[str, Any]:
        return {
            "checkpoint": CHECKPOINT_SCHEMA,
            "agent": self.agent,
            "identity": None if self.identity is None else list(self.identity.parts),
            "created": self.created,
            "expires": self.expires,
            "tools": dict(self.tools),
            # As they will be read: a tool's question may hold half of a character.
            "asks": json.loads(mended(dumps(encode(self.asks)))),
            "usage": encode(self.usage),
            "texts": self.texts,
            "run": self.packed,
        }

    def to_json(self) -> str:
        """The checkpoint as one line of JSON."""
        body = self._body()
        if self.signature is not None:
            body["signature"] = self.signature
        return portable(body)

    @staticmethod
    def from_json(text: str | bytes) -> Checkpoint:
        """Reads the text form. Whether it may be resumed is decided by `agent.resume`.

        Raises:
            CheckpointVersion: it was written by another version of the text form.
            CheckpointTampered: it is not what `to_json` wrote.
        """
        try:
            body = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            raise CheckpointTampered(
                "the checkpoint is no JSON: it was cut or changed; take the text that to_json() gave"
            ) from None
        if not isinstance(body, dict) or "checkpoint" not in body:
            raise CheckpointTampered("this is no checkpoint: take the text that checkpoint.to_json() gave")
        if body["checkpoint"] != CHECKPOINT_SCHEMA:
            raise CheckpointVersion(
                f"the checkpoint has schema {body['checkpoint']!r}, this version reads {CHECKPOINT_SCHEMA}: "
                "resume it with the version of agentfootprint that made it"
            )
        signature = body.pop("signature", None)
        try:
            if not (signature is None or isinstance(signature, str)):
                raise ValueError("its signature is no text")
            identity = body["identity"]
            checkpoint = Checkpoint(
                agent=decode(str, body["agent"]),
                identity=None if identity is None else MemoryIdentity(*identity),
                created=decode(float, body["created"]),
                expires=decode(float | None, body["expires"]),
                tools=decode(dict[str, str], body["tools"]),
                asks=decode(list[Ask], body["asks"]),
                usage=decode(Usage, body["usage"]),
                packed=decode(str, body["run"]),
                texts=decode(list[str], body["texts"]),
                signature=signature,
            )
            # Whatever would be lost by writing it again is not covered by the digest: it is refused.
            if checkpoint._body() != body:
                raise ValueError("it holds something that a checkpoint does not")
        except (IdentityInvalid, ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointTampered(f"the checkpoint was cut or changed: {error}") from None
        return checkpoint

    def signed(self, key: bytes) -> Checkpoint:
        """The checkpoint with its signature."""
        return replace(self, signature=self._signature(key))

    def _signature(self, key: bytes) -> str:
        return hmac.new(key, _content(self._body()), hashlib.sha256).hexdigest()

    def verified(self, key: bytes) -> bool:
        """Whether the signature is there and fits."""
        if self.signature is None:
            return False
        given = self.signature.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(self._signature(key).encode(), given)

    def expired(self, now: float | None = None) -> bool:
        """Whether its time is over, so that it cannot be resumed."""
        return _over(self.expires, now)

    def unanswerable(self, now: float | None = None) -> list[Ask]:
        """The questions whose own time is over: the run can only go on without their answers."""
        return [ask for ask in self.asks if _over(ask.expires_at, now)]


def _content(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _over(end: float | None, now: float | None) -> bool:
    # What is no number is no end that could be held.
    return end is not None and not (time.time() if now is None else now) < end


def pack(run: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A run as compressed text, and the long texts of it that are better kept beside it."""
    # A tool's result stands in the conversation and in the record of its call; together they are
    # often further apart than compression looks back.
    lengthy: dict[str, int] = {}
    _collect(run, lengthy)
    texts = [text for text, times in lengthy.items() if times > 1]
    replaced = _replaced(run, {text: f"{_MARK}{place}" for place, text in enumerate(texts)})
    texts = list(map(mended, texts))
    whole, bare = _zipped(replaced, texts), _zipped(replaced, [])
    # What does not compress (random text, encoded bytes) would only grow.
    apart = len(bare) + len(portable(texts).encode()) < len(whole)
    return (bare, texts) if apart else (whole, [])


def _zipped(run: Any, texts: list[str]) -> str:
    data = portable({"texts": texts, "run": run}).encode()
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


#: A packed run may not unfold to more than this: a small text must not fill the memory.
MAX_UNPACKED = 512 * 1024 * 1024

#: Begins a string that names a text; a string that begins with it by itself begins with two.
_MARK = "\x00"
_LENGTHY = 200


def _unpack(packed: str, texts: list[str]) -> Mapping[str, Any]:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(packed, validate=True), MAX_UNPACKED)
    if not unpacker.eof:
        raise ValueError("the packed run is cut, or unreasonably large")
    stored = json.loads(data)
    if not isinstance(stored, dict) or not isinstance(stored.get("run"), dict) or "run" not in stored["run"]:
        raise ValueError("the packed run is no run")
    run: Mapping[str, Any] = _restored(stored["run"], stored["texts"] or texts)
    return run


def _collect(data: Any, found: dict[str, int]) -> None:
    if type(data) is str:
        if len(data) >= _LENGTHY:
            found[data] = found.get(data, 0) + 1
    elif type(data) is dict:
        for item in data.values():
            _collect(item, found)
    elif type(data) is list:
        for item in data:
            _collect(item, found)


def _replaced(data: Any, places: Mapping[str, str]) -> Any:
    if type(data) is str:
        return places.get(data) or (_MARK + data if data.startswith(_MARK) else data)
    if type(data) is dict:
        return {key: _replaced(item, places) for key, item in data.items()}
    if type(data) is list:
        return [_replaced(item, places) for item in data]
    return data


def _restored(data: Any, texts: Sequence[str]) -> Any:
    if type(data) is str:
        if not data.startswith(_MARK):
            return data
        return data[1:] if data.startswith(_MARK * 2) else texts[int(data[1:])]
    if type(data) is dict:
        return {key: _restored(item, texts) for key, item in data.items()}
    if type(data) is list:
        return [_restored(item, texts) for item in data]
    return data
