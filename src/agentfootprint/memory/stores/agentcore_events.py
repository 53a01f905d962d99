"""An AgentCore memory as the store uses it: events of actors and sessions, records, errors by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ...errors import MissingExtra, StoreError, StoreUnavailable

__all__ = ["Event", "Events", "Session"]

Event = dict[str, Any]

Session = tuple[str, str]
"""An actor's id and that of one of its sessions."""

TIMEOUT_SECONDS = 5.0

PAGE = 100

_BUSY = (
    *(
        "RetryableConflictException",
        "ServiceException",
        "ServiceUnavailableException",
        "InternalServerException",
    ),
    *("ThrottledException", "ThrottlingException", "TooManyRequestsException"),
)
_ABSENT = "ResourceNotFoundException"


class Events:
    """One memory, asked from threads. Everything may be asked twice without harm: an event has a token."""

    def __init__(
        self, memory_id: str, client: Any, region: str | None, endpoint_url: str | None, max_connections: int
    ) -> None:
        try:
            import boto3
            from botocore import config, exceptions
        except ImportError:
            raise MissingExtra("AgentCoreStore", "agentcore") from None
        self._errors = exceptions
        self._own = client is None
        if client is None:
            settings = config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=TIMEOUT_SECONDS,
                read_timeout=TIMEOUT_SECONDS,
                max_pool_connections=max_connections,
            )
            try:
                # A session of its own: the default one is not safe to share between threads.
                client = boto3.session.Session().client(
                    "bedrock-agentcore", region_name=region, endpoint_url=endpoint_url, config=settings
                )
            except exceptions.BotoCoreError as error:
                raise StoreError(f"boto3 can make no client for AgentCore: {error}") from None
        self._memory_id = memory_id
        self._client = client
        self.where = f"the AgentCore memory {memory_id!r} at {client.meta.endpoint_url}"
        self._threads = ThreadPoolExecutor(max_connections, thread_name_prefix="agentfootprint-agentcore")
        self._closed = False
        self._asked = False

    async def create(self, session: Session, event: Event) -> Event:
        made = await self._ask("create_event", actorId=session[0], sessionId=session[1], **event)
        if made is None:
            raise self._absent()
        found: Event = made["event"]
        return found

    def of(
        self, session: Session, *, where: dict[str, str] | None = None, payloads: bool = True
    ) -> AsyncIterator[Event]:
        """The events of a session, those with this metadata if it is given, in no order."""
        given: dict[str, Any] = {"actorId": session[0], "sessionId": session[1], "includePayloads": payloads}
        if where:
            given["filter"] = {
                "eventMetadata": [
                    {
                        "left": {"metadataKey": key},
                        "operator": "EQUALS_TO",
                        "right": {"metadataValue": {"stringValue": value}},
                    }
                    for key, value in where.items()
                ]
            }
        return self._pages("list_events", "events", **given)

    async def delete(self, session: Session, event_ids: Sequence[str]) -> None:
        ask = partial(self._ask, "delete_event", actorId=session[0], sessionId=session[1])
        await asyncio.gather(*(ask(eventId=each) for each in event_ids))

    async def sessions(self, actor: str) -> list[Session]:
        found = self._pages("list_sessions", "sessionSummaries", actorId=actor)
        return [(actor, each["sessionId"]) async for each in found]

    async def actors(self, prefix: str) -> list[str]:
        found = self._pages("list_actors", "actorSummaries")
        return [each["actorId"] async for each in found if each["actorId"].startswith(prefix)]

    async def retrieve(self, records: str, query: str, most: int) -> list[dict[str, Any]]:
        """What was extracted into a namespace of records, the most relevant first."""
        criteria = {"searchQuery": query, "topK": most}
        answer = await self._ask("retrieve_memory_records", namespace=records, searchCriteria=criteria)
        return list(answer["memoryRecordSummaries"]) if answer is not None else []

    async def delete_records(self, records: str) -> None:
        found = self._pages("list_memory_records", "memoryRecordSummaries", namespace=records)
        ids = [each["memoryRecordId"] async for each in found]
        for at in range(0, len(ids), PAGE):
            batch = [{"memoryRecordId": each} for each in ids[at : at + PAGE]]
            answer = await self._ask("batch_delete_memory_records", records=batch)
            if answer is not None and answer["failedRecords"]:
                raise StoreUnavailable(f"{self.where} did not delete all records of {records!r}: try again")

    async def check(self) -> None:
        """Asks for an actor, whoever it is; a connection that was made for that alone is closed."""
        fresh = not self._asked
        try:
            if await self._ask("list_actors", maxResults=1) is None:
                raise self._absent()
        except _NotAllowed:
            pass  # Who may not list them has been let in.
        finally:
            if fresh and self._own and not self._closed:
                self._client.close()  # It makes connections again when it is asked.
                self._asked = False

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._threads.shutdown(wait=False)
            if self._own:
                self._client.close()

    def check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"the memory store in {self.where} is closed")

    async def _pages(self, operation: str, name: str, **given: Any) -> AsyncIterator[dict[str, Any]]:
        while True:
            answer = await self._ask(operation, maxResults=PAGE, **given)
            for each in answer[name] if answer is not None else ():
                yield each
            token = answer.get("nextToken") if answer is not None else None
            if token is None:
                return
            given["nextToken"] = token

    async def _ask(self, operation: str, **given: Any) -> Any:
        """The answer; None when what is asked about is not there."""
        call = partial(getattr(self._client, operation), memoryId=self._memory_id, **given)
        try:
            return await self._once(operation, call)
        except StoreUnavailable:
            if self._closed:
                raise
        return await self._once(operation, call)

    async def _once(self, operation: str, call: Callable[[], Any]) -> Any:
        self.check_open()
        self._asked = True
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except self._errors.ClientError as error:
            failed = self._refused(operation, error.response)
        except self._errors.BotoCoreError as error:
            failed = self._broken(operation, error)
        if failed is not None:
            raise failed
        return None

    def _absent(self) -> StoreError:
        return StoreError(f"{self.where} does not exist: create it, and give its id, not its name or ARN")

    def _refused(self, operation: str, response: Any) -> StoreError | None:
        code = response.get("Error", {}).get("Code", "unknown")
        if code == _ABSENT:
            return None
        if code in _BUSY or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            return StoreUnavailable(f"{self.where} is throttled or not well ({code})")
        if code == "AccessDeniedException":
            return _NotAllowed(f"{self.where} refused {operation} ({code})")
        return StoreError(f"{self.where} refused {operation} ({code})")

    def _broken(self, operation: str, error: Exception) -> StoreError:
        # The library's own text is left out: it can quote the request.
        if isinstance(error, (self._errors.NoCredentialsError, self._errors.ParamValidationError)):
            return StoreError(f"{self.where} was not asked for {operation} ({type(error).__name__})")
        return StoreUnavailable(f"{self.where} cannot be reached or did not answer ({type(error).__name__})")


class _NotAllowed(StoreError):
    """Whoever asks is known, and may not."""
