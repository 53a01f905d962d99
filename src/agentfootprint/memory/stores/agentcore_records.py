"""What AgentCore makes of entries itself: long-term memory records, found by text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from ...errors import ConfigurationError, InputInvalid, UnsupportedValue
from ...identity import MemoryIdentity
from ..base import Match, MemoryEntry
from .agentcore import AgentCoreStore, Payloads, session_of
from .agentcore_events import Session

__all__ = ["ExtractingAgentCoreStore"]

Said: TypeAlias = tuple[Literal["USER", "ASSISTANT", "TOOL", "OTHER"], str]
"""Who said what."""

MAX_TEXT, MAX_QUERY, MAX_FOUND = 100_000, 10_000, 100


class ExtractingAgentCoreStore(AgentCoreStore):
    """An `AgentCoreStore` that lets AgentCore extract records from its entries, and a `TextSearch` for them.

    The memory needs a strategy, and `records` is the namespace that the strategy writes to, with the id of
    the strategy filled in: `"/strategies/facts-1234567890/actors/{actorId}/"`. What is found has the record's
    text as its value and the time it was made. AgentCore extracts some time after a write, and again when an
    entry is replaced.

    `forget` deletes the records of what it forgets: those of its sessions if `records` has `{sessionId}`,
    otherwise those of an actor when the whole actor is forgotten, that is a principal (or a tenant) with its
    descendants. What AgentCore is extracting at that moment may still appear.

    Args:
        extract: what of an entry is said in a conversation, in order; empty if nothing is to be extracted.

    Raises:
        ConfigurationError: `records` has no `{actorId}`: what is found would be anyone's.
    """

    def __init__(
        self,
        memory_id: str,
        *,
        records: str,
        extract: Callable[[MemoryEntry], Sequence[Said]],
        **options: Any,
    ) -> None:
        if "{actorId}" not in records or "{memoryStrategyId}" in records or "*" in records:
            raise ConfigurationError(
                f"records={records!r} must be the namespace of one strategy with {{actorId}} in it, such as "
                "'/strategies/facts-1234567890/actors/{actorId}/': otherwise what is found is anyone's"
            )
        super().__init__(memory_id, **options)
        self._records = records
        self._extract = extract

    async def search_text(self, identity: MemoryIdentity, query: str, *, k: int = 10) -> Sequence[Match]:
        if k < 1:
            raise InputInvalid(f"k must be at least 1, not {k}")
        if not 0 < len(query) <= MAX_QUERY:
            raise InputInvalid(f"a query has 1 to {MAX_QUERY} characters, not {len(query)}")
        if identity.conversation_id is not None and "{sessionId}" not in self._records:
            raise InputInvalid(
                f"the records in {self._records!r} are of a principal, not of a conversation: search with "
                "the identity without its conversation_id"
            )
        where = self._records_of(session_of(identity))
        found = await self._events.retrieve(where, query, min(k, MAX_FOUND))
        return [
            Match(
                MemoryEntry(
                    each["memoryRecordId"],
                    each["content"].get("text", ""),
                    {"strategy": each["memoryStrategyId"]},
                    each["createdAt"].timestamp(),
                ),
                each.get("score", 0.0),
            )
            for each in found[:k]
            if where in each["namespaces"]
        ]

    def _conversation(self, entry: MemoryEntry) -> Payloads:
        said = [(role, text) for role, text in self._extract(entry) if text]
        if any(len(text) > MAX_TEXT for _, text in said):
            raise UnsupportedValue(
                f"the entry {entry.id!r}: AgentCore extracts from texts of at most {MAX_TEXT} characters"
            )
        return [{"conversational": {"role": role, "content": {"text": text}}} for role, text in said]

    async def _forget_actor(self, actor: str) -> None:
        if "{sessionId}" not in self._records:
            await self._events.delete_records(self._records_of((actor, "")))

    async def _forget(self, session: Session) -> int:
        count = await super()._forget(session)
        if "{sessionId}" in self._records:
            await self._events.delete_records(self._records_of(session))
        return count

    def _records_of(self, session: Session) -> str:
        actor, name = session
        return self._records.replace("{actorId}", actor).replace("{sessionId}", name)
