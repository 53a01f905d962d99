"""Passwords of memory stores: in no repr, no error, no traceback, no log record."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agentfootprint.errors import StoreError
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import DynamoDBStore, MemoryEntry, RedisStore
from tests.servers.databases import free_port, redis_url

SECRET = "s3ntinel-8f21c7"

ME = MemoryIdentity("acme", "alice")


def _redis_away() -> Any:
    return RedisStore(f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0")


def _redis_refusing() -> Any:
    return RedisStore(redis_url().replace("redis://", f"redis://nobody:{SECRET}@"))


def _dynamodb_away() -> Any:
    return DynamoDBStore("table", endpoint_url=f"http://127.0.0.1:{free_port()}", region="eu-west-1")


@pytest.mark.parametrize("make", [_redis_away, _redis_refusing, _dynamodb_away])
async def test_a_password_is_nowhere_to_be_seen(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        async with make() as store:
            told.append(repr(store))
            calls: list[Any] = [
                partial(store.get, ME, "one"),
                partial(store.put, ME, MemoryEntry("one", 1)),
                partial(store.list, ME),
                partial(store.forget, ME, descendants=True),
            ]
            for call in calls:
                with pytest.raises(StoreError) as caught:
                    await call()
                error: BaseException | None = caught.value
                told += [repr(error), "".join(traceback.format_exception(error))]
                while error is not None:
                    told += [repr(error), repr(getattr(error, "__dict__", {}))]
                    error = error.__cause__ or error.__context__
    told += [f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
    assert not [text for text in told if SECRET in text]
