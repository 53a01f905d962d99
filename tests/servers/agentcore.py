"""The memory part of Amazon Bedrock AgentCore's data plane, for boto3, as its service model says.

It has what moto lacks: sessions and actors, memory records, pages, filters by metadata, tokens of clients.
What it extracts is each text of a conversation as it stands, into `/strategies/s/actors/{actorId}/`.
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from .json_server import JSONServer, Refused

__all__ = ["MEMORY", "AgentCore"]

MEMORY = "kit-0123456789"

_ACTOR = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-_/]*(?::[a-zA-Z0-9-_/]+)*[a-zA-Z0-9-_/]*")
_SESSION = re.compile("[a-zA-Z0-9][a-zA-Z0-9-_]*")
_METADATA = re.compile(r"[a-zA-Z0-9\s._:/=+@-]*")

Event = dict[str, Any]


@dataclass
class _Memory:
    sessions: dict[tuple[str, str], dict[str, Event]] = field(default_factory=dict)
    tokens: dict[str, Event] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)


class AgentCore(JSONServer):
    """One memory. Pages have at most `page` items, whatever is asked for."""

    def __init__(self, *, page: int = 100) -> None:
        super().__init__()
        self.page = page
        self.memory = _Memory()

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: Any) -> Any:
        match method, path:
            case ("POST" | "GET" | "DELETE", ["memories", memory, *_]) if memory != MEMORY:
                raise _absent(f"Memory not found: {memory}")
            case "POST", [_, _, "events"]:
                return self._create(body)
            case "POST", [_, _, "actor", actor, "sessions"]:
                found = [
                    {"sessionId": each, "actorId": of, "createdAt": 0} for of, each in self._sessions(actor)
                ]
                return self._page("sessionSummaries", found, body)
            case "POST", [_, _, "actors"]:
                actors = sorted({actor for actor, _ in self.memory.sessions})
                return self._page("actorSummaries", [{"actorId": each} for each in actors], body)
            case "POST", [_, _, "actor", actor, "sessions", session]:
                events = self.memory.sessions.get((actor, session), {}).values()
                return self._page(
                    "events", [_shown(each, body) for each in events if _fits(each, body)], body
                )
            case "DELETE", [_, _, "actor", actor, "sessions", session, "events", event]:
                if self.memory.sessions.get((actor, session), {}).pop(event, None) is None:
                    raise _absent(f"Event {event} not found")
                return {"eventId": event}
            case "POST", [_, _, "retrieve"]:
                words = set(body["searchCriteria"]["searchQuery"].lower().split())
                scored: list[dict[str, Any]] = [
                    {**each, "score": len(words & set(each["content"]["text"].lower().split())) / len(words)}
                    for each in self.memory.records.values()
                    if each["namespaces"] == [body["namespace"]]
                ]
                scored.sort(key=lambda each: float(each["score"]), reverse=True)
                return {"memoryRecordSummaries": scored[: body["searchCriteria"]["topK"]]}
            case "POST", [_, _, "memoryRecords"]:
                records = self.memory.records.values()
                found = [each for each in records if each["namespaces"] == [body["namespace"]]]
                return self._page("memoryRecordSummaries", found, body)
            case "POST", [_, _, "memoryRecords", "batchDelete"]:
                ids = [each["memoryRecordId"] for each in body["records"]]
                gone = [each for each in ids if self.memory.records.pop(each, None)]
                done = [{"memoryRecordId": each, "status": "SUCCEEDED"} for each in gone]
                return {"successfulRecords": done, "failedRecords": []}
        raise Refused(404, {"message": "no such path"}, {"x-amzn-errortype": "UnknownOperationException"})

    def _sessions(self, actor: str) -> list[tuple[str, str]]:
        return sorted(each for each in self.memory.sessions if each[0] == actor)

    def _create(self, body: Any) -> Any:
        actor, session, payload = body["actorId"], body["sessionId"], body["payload"]
        _check(len(actor) <= 255 and bool(_ACTOR.fullmatch(actor)), f"actorId {actor!r}")
        _check(len(session) <= 100 and bool(_SESSION.fullmatch(session)), f"sessionId {session!r}")
        _check(1 <= len(payload) <= 100, "payload")
        marks = body.get("metadata", {})
        _check(len(marks) <= 15, "metadata")
        for key, value in marks.items():
            texts = key, value["stringValue"]
            _check(all(len(each) <= 256 and _METADATA.fullmatch(each) for each in texts), f"metadata {key!r}")
        if body["clientToken"] in self.memory.tokens:
            return {"event": self.memory.tokens[body["clientToken"]]}
        event = {
            **{key: body[key] for key in ("actorId", "sessionId", "payload", "eventTimestamp")},
            "memoryId": MEMORY,
            "metadata": marks,
            "branch": {"name": "main"},
            "eventId": f"{time.time_ns() // 1_000_000}#{uuid.uuid4().hex}",
        }
        self.memory.tokens[body["clientToken"]] = event
        self.memory.sessions.setdefault((actor, session), {})[event["eventId"]] = event
        for each in payload if body.get("extractionMode") != "SKIP" else ():
            if "conversational" in each:
                name = f"mem-{uuid.uuid4()}"
                record = {"memoryRecordId": name, "content": each["conversational"]["content"]}
                where = {"memoryStrategyId": "s-0123456789", "namespaces": [f"/strategies/s/actors/{actor}/"]}
                self.memory.records[name] = {**record, **where, "createdAt": int(time.time())}
        return {"event": event}

    def _page(self, name: str, found: list[Any], body: Any) -> Any:
        start = int(body.get("nextToken", 0))
        end = start + min(body.get("maxResults", 20), self.page)
        return {name: found[start:end], **({"nextToken": str(end)} if end < len(found) else {})}


def _fits(event: Event, body: Any) -> bool:
    wanted = body.get("filter", {}).get("eventMetadata", [])
    return all(
        event["metadata"].get(each["left"]["metadataKey"]) == each["right"]["metadataValue"]
        for each in wanted
    )


def _shown(event: Event, body: Any) -> Event:
    return event if body.get("includePayloads") else {**event, "payload": []}


def _check(true: bool, what: str) -> None:
    if not true:
        body = {"message": f"{what} does not satisfy the constraint"}
        raise Refused(400, body, {"x-amzn-errortype": "ValidationException"})


def _absent(message: str) -> Refused:
    return Refused(404, {"message": message}, {"x-amzn-errortype": "ResourceNotFoundException"})
