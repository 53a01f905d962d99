from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from agentfootprint.errors import StoreCorrupt, StoreError
from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import MemoryEntry, RedisStore
from agentfootprint.state import RedisState, StateKey
from agentfootprint.state.redis_server import RedisServer
from agentfootprint.testing import ManualClock
from tests.servers.databases import free_port, redis_url, start_redis
from tests.servers.programs import program
from tests.servers.stores import place

ME = MemoryIdentity("acme", "alice", "t-1")


@pytest.fixture
async def name(tmp_path: Path) -> AsyncIterator[str]:
    async with place("redis", tmp_path) as (_, _, name):
        yield name


@pytest.fixture
async def client(name: str) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis.from_url(redis_url()) as made:
        yield made


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that are sent, each a round trip."""
    sent: list[str] = []
    once = RedisServer._once

    async def counting(self: Any, command: str, *rest: Any) -> Any:
        sent.append(command)
        return await once(self, command, *rest)

    monkeypatch.setattr(RedisServer, "_once", counting)
    return sent


async def keys_of(client: Any, name: str) -> dict[str, int]:
    """The keys that are there, and the milliseconds that Redis keeps each; -1 is for ever."""
    return {key.decode(): await client.pttl(key) async for key in client.scan_iter(match=f"{name}*")}


async def test_what_is_asked_in_a_turn_is_one_round_trip_each(name: str, counted: list[str]) -> None:
    async with RedisStore(redis_url(), prefix=name) as store:
        await store.put_many(ME, [MemoryEntry(str(number), "x") for number in range(30)])
        await store.list(ME)
        for call in (
            lambda: store.put_many(ME, [MemoryEntry("asked", 1), MemoryEntry("said", 2)]),
            lambda: store.put(ME, MemoryEntry("one", 1)),
            lambda: store.list(ME, limit=20),
            lambda: store.get(ME, "one"),
        ):
            counted.clear()
            await call()
            assert len(counted) == 1, counted
        assert not {"scan", "keys"} & set(counted)


async def test_the_keys_of_an_identity_share_a_slot_and_those_of_a_tenants_names(
    name: str, client: Any
) -> None:
    async with RedisStore(redis_url(), prefix=name) as store:
        await store.put(ME, MemoryEntry("one", 1, expires=2e9 * 2))
    keys = await keys_of(client, name)
    assert {re.findall(r"\{(.*?)\}", key)[0] for key in keys} == {"acme/alice/t-1/", "acme/"}
    assert len(keys) == 6


async def test_no_key_outlives_the_last_entry_that_expires(name: str, client: Any) -> None:
    async with RedisStore(redis_url(), prefix=name) as store:
        clock = store._clock
        await store.put(ME, MemoryEntry("short", 1, expires=clock() + 10))
        await store.put(ME, MemoryEntry("long", 1, expires=clock() + 1000))
        assert all(
            1000_000 < left <= 1000_000 + 100_000 + 121_000 for left in (await keys_of(client, name)).values()
        )
        await store.put(ME, MemoryEntry("kept", 1))
        assert set((await keys_of(client, name)).values()) == {-1}
        await store.delete(ME, "kept")
        lasting = {key for key, left in (await keys_of(client, name)).items() if left == -1}
        assert lasting == {f"{name}:memory:{{acme/}}:names", f"{name}:memory:{{acme/}}:untils"}
        await store.delete(ME, "long")
        await store.delete(ME, "short")
        assert await keys_of(client, name) == {}


async def test_what_expired_is_collected_by_later_writes(name: str, client: Any) -> None:
    clock = ManualClock()
    async with RedisStore(redis_url(), prefix=name, clock=clock) as store:
        await store.put_many(ME, [MemoryEntry(str(n), n, expires=clock.now + 1) for n in range(100)])
        clock.advance(2)
        for number in range(6):
            await store.put(ME, MemoryEntry(f"kept {number}", 1))
        assert await client.hlen(f"{name}:memory:{{acme/alice/t-1/}}:entries") == 6


async def test_nothing_is_left_of_those_who_were_forgotten_not_even_their_names(
    name: str, client: Any
) -> None:
    async with RedisStore(redis_url(), prefix=name) as store:
        for number in range(1200):
            await store.put(MemoryIdentity("acme", "alice", str(number)), MemoryEntry("one", 1))
        await store.put(MemoryIdentity("acme", "bob"), MemoryEntry("one", 1))
        assert await store.forget(MemoryIdentity("acme", "alice", "7")) == 1
        assert await store.forget(MemoryIdentity("acme", "alice"), descendants=True) == 1199
        assert not [key for key in await keys_of(client, name) if "alice" in key]
        names = await client.zrange(f"{name}:memory:{{acme/}}:names", 0, -1)
        assert [each.split(b" ")[0] for each in names] == [b"acme/bob/~/"]
        assert await store.forget(MemoryIdentity("acme"), descendants=True) == 1
    assert await keys_of(client, name) == {}


async def test_who_is_forgotten_while_being_written_can_still_be_forgotten(name: str, client: Any) -> None:
    async with RedisStore(redis_url(), prefix=name) as store:

        async def write(number: int) -> None:
            for turn in range(10):
                await store.put(MemoryIdentity("acme", "alice", f"{number % 5}"), MemoryEntry(f"{turn}", 1))

        async def forget() -> None:
            for _ in range(30):
                await store.forget(MemoryIdentity("acme", "alice"), descendants=True)
                await store.forget(MemoryIdentity("acme", "alice", "3"))

        await asyncio.gather(*(write(number) for number in range(20)), forget())
        await store.forget(MemoryIdentity("acme"), descendants=True)
        assert not [key for key in await keys_of(client, name) if "alice" in key]
        assert await client.exists(f"{name}:memory:{{acme/}}:names") == 0


async def test_a_name_is_written_before_any_entry(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies after any of its commands leaves nothing that `forget` cannot find."""
    once, left = RedisServer._once, 0

    async def dying(self: Any, *rest: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise asyncio.CancelledError
        return await once(self, *rest)

    for commands in range(6):
        async with RedisStore(redis_url(), prefix=name) as store:
            await store.forget(ME)
            left = commands
            with monkeypatch.context() as patch:
                patch.setattr(RedisServer, "_once", dying)
                await asyncio.gather(store.put(ME, MemoryEntry("one", 1)), return_exceptions=True)
            there = await store.get(ME, "one") is not None
            assert await store.forget(MemoryIdentity("acme"), descendants=True) == there


async def test_a_state_store_of_the_same_prefix_forgets_only_its_own(name: str) -> None:
    async with RedisStore(redis_url(), prefix=name) as store, RedisState(redis_url(), prefix=name) as state:
        await store.put(ME, MemoryEntry("one", 1))
        await state.compare_and_set(StateKey(ME, "kind", "name"), None, 1)
        assert await state.forget(MemoryIdentity("acme"), descendants=True) == 1
        assert await store.forget(MemoryIdentity("acme"), descendants=True) == 1


async def test_a_record_changed_by_others_is_corrupt_and_the_rest_reads(name: str, client: Any) -> None:
    async with RedisStore(redis_url(), prefix=name) as store:
        await store.put_many(ME, [MemoryEntry("bad", 1), MemoryEntry("good", 2)])
        key = f"{name}:memory:{{acme/alice/t-1/}}:entries"
        for broken in (b"?", (await client.hget(key, "bad"))[:-3]):
            await client.hset(key, "bad", broken)
            with pytest.raises(StoreCorrupt, match="the memory entry 'bad'"):
                await store.get(ME, "bad")
        good = await store.get(ME, "good")
        assert good is not None
        assert good.value == 2


async def test_a_script_that_the_server_has_forgotten_is_told_again(name: str, tmp_path: Path) -> None:
    port = free_port()
    server = start_redis(port)
    try:
        async with (
            RedisStore(f"redis://127.0.0.1:{port}") as store,
            redis.asyncio.Redis(port=port) as client,
        ):
            for number in range(3):
                await client.script_flush()
                await store.put(ME, MemoryEntry(str(number), number))
            assert len((await store.list(ME)).entries) == 3
    finally:
        server.kill()
        server.wait()


async def test_connections_that_redis_killed_cost_no_turn(name: str, client: Any) -> None:
    label = f"store-{name}"
    async with RedisStore(f"{redis_url()}?client_name={label}", prefix=name) as store:
        for turn in range(5):
            await store.put(ME, MemoryEntry(str(turn), turn))
            listed = [each for each in await client.client_list() if each["name"] == label]
            assert listed
            for each in listed:
                await client.client_kill_filter(_id=each["id"])
        assert len((await store.list(ME)).entries) == 5


def _certificate(folder: Path) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis"
    )
    subprocess.run(
        [
            *command.split(),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


async def test_tls_and_a_user_who_may_touch_only_the_stores_keys(tmp_path: Path) -> None:
    assert program("openssl")
    _certificate(tmp_path)
    port = free_port()
    files = ("--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem"))
    server = start_redis(port, "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *files)
    trust = f"ssl_ca_certs={tmp_path}/cert.pem"
    documented = re.findall(
        r"`([a-z]+)`", (RedisStore.__doc__ or "").split("and the commands ")[1].split(".\n")[0]
    )
    try:
        async with redis.asyncio.Redis.from_url(f"rediss://127.0.0.1:{port}?{trust}") as admin:
            rights = ["~agentfootprint:memory:*", *(f"+{command}" for command in documented)]
            made = admin.execute_command("ACL", "SETUSER", "alice", "on", ">s3ntinel", *rights)  # type: ignore[no-untyped-call]
            await made
        async with RedisStore(f"rediss://alice:s3ntinel@127.0.0.1:{port}?{trust}") as store:
            await store.put(ME, MemoryEntry("one", 1))
            await store.put_many(ME, [MemoryEntry(str(n), n, expires=4e9) for n in range(5)])
            page = await store.list(ME, limit=2)
            assert len((await store.list(ME, cursor=page.cursor)).entries) == 4
            assert await store.get(ME, "one") is not None
            assert await store.delete(ME, "one")
            for number in range(5):
                assert await store.delete(ME, str(number))
            await store.put(ME, MemoryEntry("one", 1))
            assert await store.forget(MemoryIdentity("acme"), descendants=True) == 1
        async with RedisStore(f"rediss://alice:s3ntinel@127.0.0.1:{port}?{trust}", prefix="other") as store:
            for call in (store.get(ME, "one"), store.put(ME, MemoryEntry("one", 1)), store.forget(ME)):
                with pytest.raises(StoreError, match="does not let this user") as caught:
                    await call
                assert "s3ntinel" not in str(caught.value)
        async with RedisStore(f"rediss://alice:s3ntinel@127.0.0.1:{port}") as store:
            with pytest.raises(StoreError):  # A certificate that nobody vouches for.
                await store.get(ME, "one")
    finally:
        server.kill()
        server.wait()
