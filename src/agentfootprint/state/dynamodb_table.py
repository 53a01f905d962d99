"""A DynamoDB table as the stores use it: conditional writes, queries, values of any size."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ..errors import MissingExtra, StoreConflict, StoreCorrupt, StoreError, StoreUnavailable
from . import trying
from .trying import Failed

__all__ = [
    "COLLECT",
    "DUE",
    "GRACE",
    "MOST",
    "PIECE",
    "PIECES",
    "TRIES",
    "Item",
    "Table",
    "Write",
    "n",
    "number",
    "pieces_of",
    "times",
    "wait",
]

Item = dict[str, Any]

Write = tuple[Item, str, Item]
"""An item, the condition under which it is put, and the values that are named in the condition."""

TIMEOUT_SECONDS = 5.0

PAGE = 25
"""Items that one batch may put or delete."""

MOST = 100
"""Items that one batch may read, and one transaction write."""

GRACE = 60.0
"""Seconds an item outlives its deadline in the table: the deadline is in the item, so clocks may differ."""

FOREVER = 10**12
"""The deadline of what has none."""

TRIES = 50
"""Lost conditional writes before the contention is taken for a fault."""

PIECE = 350_000
"""Bytes of a value in one item, which holds at most 400 KB; what is longer goes on in further items."""

VALUE, PIECES, DUE, COLLECT = "valueJson", "pieceCount", "dueAt", "expiresAt"

_BUSY = (
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
)
_LOST = (
    "ConditionalCheckFailedException",
    "ResourceInUseException",
    "TransactionConflictException",
    "TransactionInProgressException",
)


class Table:
    """One table, asked from threads. Operations with `again` may be asked twice without harm."""

    def __init__(
        self,
        whose: str,
        name: str,
        client: Any,
        region: str | None,
        endpoint_url: str | None,
        max_connections: int,
    ) -> None:
        try:
            import boto3
            from botocore import config, exceptions
        except ImportError:
            raise MissingExtra(whose, "dynamodb") from None
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
                    "dynamodb", region_name=region, endpoint_url=endpoint_url, config=settings
                )
            except exceptions.BotoCoreError as error:
                raise StoreError(f"boto3 can make no client for DynamoDB: {error}") from None
        self._whose = whose
        self._name = name
        self._client = client
        self.where = f"the DynamoDB table {name!r} at {client.meta.endpoint_url}"
        self._threads = ThreadPoolExecutor(max_connections, thread_name_prefix="agentfootprint-dynamodb")
        self._closed = False
        self._asked = False

    async def check(self) -> None:
        """Asks for the table; a connection that was made for that alone is closed."""
        fresh = not self._asked
        try:
            told = await self._ask("describe_table", again=True)
        except _NotAllowed:
            return  # Who may not describe it has been let in.
        finally:
            if fresh and self._own and not self._closed:
                self._client.close()  # It makes connections again when it is asked.
                self._asked = False
        status = told["Table"]["TableStatus"]
        if status not in ("ACTIVE", "UPDATING"):
            raise StoreUnavailable(f"{self.where} is not ready to be used: its status is {status}")

    async def create(self) -> None:
        keys = (("pk", "HASH"), ("sk", "RANGE"))
        try:
            await self._ask(
                "create_table",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                BillingMode="PAY_PER_REQUEST",
            )
        except StoreConflict:
            return  # Somebody else makes it, or has.
        wait = self._client.get_waiter("table_exists").wait
        await self._in_thread(
            partial(wait, TableName=self._name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        )
        collected = {"Enabled": True, "AttributeName": COLLECT}
        await self._ask("update_time_to_live", TimeToLiveSpecification=collected)

    async def get(self, key: Item) -> Item | None:
        answer = await self._ask("get_item", again=True, Key=key, ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    async def get_many(self, keys: Sequence[Item]) -> dict[str, Item]:
        """The items that are there, by their sort keys; all keys are of one partition."""
        found: dict[str, Item] = {}
        left = list({key["sk"]["S"]: {"pk": key["pk"], "sk": key["sk"]} for key in keys}.values())
        while left:
            asked, left = left[:MOST], left[MOST:]
            request = {self._name: {"Keys": asked, "ConsistentRead": True}}
            answer = await self._ask("batch_get_item", again=True, RequestItems=request)
            items = answer.get("Responses", {}).get(self._name, [])
            more = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if len(more) == len(asked):
                raise StoreUnavailable(f"{self.where} is throttled: not all items were read")
            found |= {item["sk"]["S"]: item for item in items}
            left += more
        return found

    async def put_all(self, writes: Sequence[Write], token: str) -> bool:
        """Puts all items or none; whether every condition holds. Both a token and conditions by which what
        was written can be written again make it one that may be asked twice."""
        if len(writes) == 1:
            return await self.put(*writes[0], again=True) is not None
        puts = [
            {
                "Put": {
                    "TableName": self._name,
                    "Item": item,
                    "ConditionExpression": condition,
                    "ExpressionAttributeValues": values,
                }
            }
            for item, condition, values in writes
        ]
        try:
            await self._ask("transact_write_items", again=True, TransactItems=puts, ClientRequestToken=token)
        except StoreConflict:
            return False
        return True

    async def take(self, key: Item) -> Item | None:
        """Deletes an item, and returns it."""
        answer = await self._ask("delete_item", Key=key, ReturnValues="ALL_OLD")
        item: Item | None = answer.get("Attributes")
        return item

    async def put(
        self, item: Item, condition: str, values: Item | None = None, *, again: bool = False
    ) -> Item | None:
        """What was replaced, empty when nothing was; None when the condition does not hold."""
        given: Item = {"Item": item, "ConditionExpression": condition, "ReturnValues": "ALL_OLD"}
        if values:
            given["ExpressionAttributeValues"] = values
        try:
            answer = await self._ask("put_item", again=again, **given)
        except StoreConflict:
            return None
        return dict(answer.get("Attributes", {}))

    async def update(self, key: Item, change: str, condition: str, values: Item) -> Item | None:
        """The attributes that were changed; None when the condition does not hold."""
        try:
            answer = await self._ask(
                "update_item",
                Key=key,
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                ReturnValues="UPDATED_NEW",
            )
        except StoreConflict:
            return None
        return dict(answer["Attributes"])

    async def query(
        self,
        pk: str,
        condition: str = "",
        values: Item | None = None,
        *,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> AsyncGenerator[Item]:
        """The items of a partition in the order of their sort keys; `limit` is that of a page."""
        more: Item = {} if limit is None else {"Limit": min(limit, 1000)}
        while True:
            answer = await self._ask(
                "query",
                again=True,
                KeyConditionExpression=f"pk = :pk{condition and ' AND ' + condition}",
                ExpressionAttributeValues={":pk": {"S": pk}, **(values or {})},
                ConsistentRead=True,
                ScanIndexForward=not newest_first,
                **more,
            )
            for item in answer["Items"]:
                yield item
            if (last := answer.get("LastEvaluatedKey")) is None:
                return
            more["ExclusiveStartKey"] = last

    async def write(self, items: Sequence[Item]) -> None:
        """Puts items one by one, whatever was there."""
        await self._batches([{"PutRequest": {"Item": item}} for item in items])

    async def remove(self, keys: Sequence[Item]) -> None:
        places = {(key["pk"]["S"], key["sk"]["S"]): {"pk": key["pk"], "sk": key["sk"]} for key in keys}
        await self._batches([{"DeleteRequest": {"Key": place}} for place in places.values()])

    async def _batches(self, requests: list[Item]) -> None:
        while requests:
            batch, requests = requests[:PAGE], requests[PAGE:]
            answer = await self._ask("batch_write_item", again=True, RequestItems={self._name: batch})
            left = answer.get("UnprocessedItems", {}).get(self._name, [])
            if len(left) == len(batch):
                raise StoreUnavailable(f"{self.where} is throttled: not all items were written or deleted")
            requests += left

    # ── values of any size ──────────────────────────────────────────────────────────────────────

    async def with_value(self, item: Item, text: str, token: str, room: int = PIECE) -> Item:
        """The item with its value. The pieces of one that is longer than there is room are written first,
        under a token of their own: nobody reads them before the item is there."""
        data = text.encode()
        if len(data) <= room:
            return {**item, VALUE: {"S": text}}
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        made = {**item, VALUE: {"S": token}, PIECES: n(len(pieces))}
        for key, piece in zip(pieces_of(made), pieces, strict=True):
            kept = {name: item[name] for name in (DUE, COLLECT)}
            await self._ask("put_item", again=True, Item={**key, **kept, "piece": {"B": piece}})
        return made

    async def value_of(self, item: Item) -> str | None:
        """An item's value; None when it is just being replaced."""
        if PIECES not in item:
            text: str = item[VALUE]["S"]
            return text
        found = [await self.get(key) for key in pieces_of(item)]
        whole = [piece["piece"]["B"] for piece in found if piece is not None]
        return b"".join(whole).decode() if len(whole) == len(found) else None

    async def drop_pieces(self, item: Item) -> None:
        """Deletes what an item that is no longer there, or never came, has in further items."""
        if PIECES in item:
            await self.remove(pieces_of(item))

    # ── the server ──────────────────────────────────────────────────────────────────────────────

    async def _ask(self, operation: str, *, again: bool = False, **given: Any) -> Any:
        if operation not in ("batch_get_item", "batch_write_item", "transact_write_items"):
            given["TableName"] = self._name
        return await trying.tried(lambda: self._once(operation, given, again), lambda: not self._closed)

    async def _once(self, operation: str, given: Item, again: bool) -> Any:
        seconds = trying.TRYING_SECONDS if again else 0.0
        try:
            return await self._in_thread(partial(getattr(self._client, operation), **given))
        except self._errors.ClientError as error:
            refused = self._refused(operation, error.response)
            failed = Failed(refused, seconds if isinstance(refused, StoreUnavailable) else 0.0)
        except self._errors.BotoCoreError as error:
            if isinstance(error, (self._errors.EndpointConnectionError, self._errors.ConnectTimeoutError)):
                seconds = trying.AWAY_SECONDS  # It was not sent.
            elif not isinstance(error, self._errors.HTTPClientError):
                seconds = 0.0  # Such as when there are no credentials.
            # The library's own text is left out: it can quote the request.
            failed = Failed(
                StoreUnavailable(
                    f"{self.where} cannot be reached or did not answer ({type(error).__name__})"
                ),
                seconds,
            )
        raise failed

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        if self._closed:
            raise StoreUnavailable(f"this {self._whose} in {self.where} is closed")
        self._asked = True
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _refused(self, operation: str, response: Any) -> StoreError:
        code = response.get("Error", {}).get("Code", "unknown")
        if code == "TransactionCanceledException":
            reasons = [reason.get("Code") for reason in response.get("CancellationReasons", [])]
            code = next((f"{each}Exception" for each in reasons if each not in (None, "None")), code)
            code = {"ThrottlingErrorException": "ThrottlingException"}.get(code, code)
        if code in _LOST:
            return StoreConflict(f"{self.where}: {operation} lost to another writer")
        if code == "ResourceNotFoundException":
            return StoreError(
                f"{self.where} does not exist: `create_table()` makes it, or give it the string "
                "keys pk (partition) and sk (sort), and time to live on expiresAt"
            )
        if code in _BUSY or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            return StoreUnavailable(f"{self.where} is throttled or not well ({code})")
        if code == "SerializationException":
            return StoreCorrupt(f"{self.where} refused {operation} ({code})")
        if code == "AccessDeniedException":
            return _NotAllowed(f"{self.where} refused {operation} ({code})")
        return StoreError(f"{self.where} refused {operation} ({code})")

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._threads.shutdown(wait=False)
            if self._own:
                self._client.close()


class _NotAllowed(StoreError):
    """Whoever asks is known, and may not."""


async def wait(lost: int) -> None:
    """Before the next try, after so many that were lost."""
    await asyncio.sleep(random.random() * 0.002 * min(lost + 1, 20))


def times(due: float | None) -> Item:
    """When an item expires, and when the table may collect it."""
    if due is None or due >= FOREVER:
        return {DUE: n(FOREVER), COLLECT: n(FOREVER)}
    return {DUE: n(due), COLLECT: n(max(int(due + GRACE) + 1, 0))}


def n(value: float) -> Item:
    return {"N": str(value) if isinstance(value, int) else f"{value:.6f}"}


def number(item: Item, name: str) -> float:
    return float(item[name]["N"])


def pieces_of(item: Item) -> list[Item]:
    name = item["sk"]["S"].partition("#")[0]
    token = item[VALUE]["S"]
    return [
        {"pk": item["pk"], "sk": {"S": f"{name}#piece#{token}#{at:04d}"}}
        for at in range(int(number(item, PIECES)))
    ]
