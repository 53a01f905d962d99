"""Passwords of stores: in no repr, no error, no traceback, no log record."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agentfootprint.errors import StoreError
from agentfootprint.state import DynamoDBState, PostgresState, RedisState, StateKey
from tests.servers.databases import free_port, postgres_dsn, redis_url

SECRET = "s3ntinel-8f21c7"

KEY = StateKey(None, "kind", "name")


def _redis_away() -> Any:
    return RedisState(f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0")


def _redis_refusing() -> Any:
    return RedisState(redis_url().replace("redis://", f"redis://nobody:{SECRET}@"))


def _postgres_away() -> Any:
    return PostgresState(f"postgresql://user:{SECRET}@127.0.0.1:{free_port()}/x")


def _postgres_refusing() -> Any:
    host = postgres_dsn().rpartition("@")[2].partition("/")[0]
    return PostgresState(f"postgresql://nobody:{SECRET}@{host}/no_such_database")


def _dynamodb_away() -> Any:
    return DynamoDBState("table", endpoint_url=f"http://127.0.0.1:{free_port()}", region="eu-west-1")


@pytest.mark.parametrize(
    "make", [_redis_away, _redis_refusing, _postgres_away, _postgres_refusing, _dynamodb_away]
)
async def test_a_password_is_nowhere_to_be_seen(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        async with make() as store:
            told.append(repr(store))
            calls: list[Any] = [partial(store.get, KEY), partial(store.compare_and_set, KEY, None, 1)]
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


def test_a_connection_string_that_cannot_be_read_is_not_repeated() -> None:
    from agentfootprint.errors import ConfigurationError

    with pytest.raises(ConfigurationError) as caught:
        PostgresState(f"postgresql:/{SECRET}@:not a port")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
