"""A paused or broken-off run as text, and the checks before it may go on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CheckpointTampered, CheckpointVersion, IdentityInvalid, JournalInvalid
from ..flow import Ask
from ..flow.codec import decode, dumps, encode, portable
from ..identity import MemoryIdentity
from ..messages import Usage

__all__ = ["CHECKPOINT_SCHEMA", "Checkpoint", "pack"]

CHECKPOINT_SCHEMA = 1
"""Version of the text form. Texts of every version that was released stay readable in the tests."""

_FIELDS = {"checkpoint", "agent", "identity", "created", "expires", "tools", "asks", "usage", "run"}


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
        run, packed: the run, as data and as it stands in the text.
        signature: HMAC-SHA-256 with the agent's `checkpoint_key`, as hex; None without one.
    """

    agent: str
    identity: MemoryIdentity | None
    created: float
    expires: float | None
    tools: Mapping[str, str]
    asks: list[Ask]
    usage: Usage
    run: Mapping[str, Any]
    packed: str
    signature: str | None = None

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
            "asks": encode(self.asks),
            "usage": encode(self.usage),
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
        except (ValueError, RecursionError):
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
            if set(body) != _FIELDS or not (signature is None or isinstance(signature, str)):
                raise ValueError("its fields are not those of a checkpoint")
            identity = body["identity"]
            return Checkpoint(
                agent=decode(str, body["agent"]),
                identity=None if identity is None else MemoryIdentity(*identity),
                created=decode(float, body["created"]),
                expires=decode(float | None, body["expires"]),
                tools=decode(dict[str, str], body["tools"]),
                asks=decode(list[Ask], body["asks"]),
                usage=decode(Usage, body["usage"]),
                run=_unpack(body["run"]),
                signature=signature,
                packed=body["run"],
            )
        except (JournalInvalid, IdentityInvalid, ValueError, TypeError, KeyError, zlib.error) as error:
            raise CheckpointTampered(f"the checkpoint was cut or changed: {error}") from None

    def signed(self, key: bytes) -> Checkpoint:
        """The checkpoint with its signature."""
        return replace(self, signature=self._signature(key))

    def _signature(self, key: bytes) -> str:
        return hmac.new(key, _content(self._body()), hashlib.sha256).hexdigest()

    def verified(self, key: bytes) -> bool:
        """Whether the signature is there and fits."""
        if self.signature is None:
            return False
        return hmac.compare_digest(self._signature(key), self.signature)

    def expired(self, now: float | None = None) -> bool:
        """Whether its time, or the time of one of its questions, is over."""
        now = time.time() if now is None else now
        ends = [at for at in (self.expires, *(ask.expires_at for ask in self.asks)) if at is not None]
        return any(at <= now for at in ends)


def _content(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def pack(run: Mapping[str, Any]) -> str:
    return base64.b64encode(zlib.compress(dumps(run).encode("utf-8", "surrogatepass"), 6)).decode("ascii")


#: A packed run may not unfold to more than this: a small text must not fill the memory.
MAX_UNPACKED = 512 * 1024 * 1024


def _unpack(packed: str) -> Mapping[str, Any]:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(packed, validate=True), MAX_UNPACKED)
    if not unpacker.eof:
        raise ValueError("the packed run is cut, or unreasonably large")
    run = json.loads(data.decode("utf-8", "surrogatepass"))
    if not isinstance(run, dict) or "run" not in run:
        raise ValueError("the packed run is no run")
    return run
