"""What belongs to an event loop is made once in it, and closed with it."""

from __future__ import annotations

import asyncio
import gc
import weakref

from agentfootprint.loops import PerLoop


class Pool:
    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.closed_in: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        await asyncio.sleep(0)
        assert self.closed_in is None
        self.closed_in = asyncio.get_running_loop()
        self.closed.set()


def pools() -> tuple[PerLoop[Pool], list[Pool]]:
    made: list[Pool] = []

    def make() -> Pool:
        made.append(Pool())
        return made[-1]

    return PerLoop(make, Pool.close), made


def test_each_loop_has_one_of_its_own_which_is_closed_as_the_loop_ends() -> None:
    per_loop, made = pools()

    async def used() -> asyncio.AbstractEventLoop:
        assert per_loop.get() is per_loop.get()
        return asyncio.get_running_loop()

    loops = [asyncio.run(used()) for _ in range(3)]
    assert [pool.closed_in for pool in made] == loops


async def test_it_can_be_closed_earlier_and_is_then_made_anew() -> None:
    per_loop, made = pools()
    first = per_loop.get()
    await per_loop.aclose()
    await per_loop.aclose()
    assert first.closed_in is asyncio.get_running_loop()
    assert per_loop.get() is not first
    await per_loop.aclose()
    assert len(made) == 2


async def test_what_nobody_holds_any_longer_is_closed_while_its_loop_goes_on() -> None:
    per_loop, made = pools()
    per_loop.get()
    del per_loop
    gc.collect()
    async with asyncio.timeout(10):
        await made[0].closed.wait()


def test_a_loop_that_ended_in_its_own_way_is_not_kept() -> None:
    per_loop, _ = pools()
    loop = asyncio.new_event_loop()

    async def used() -> None:
        per_loop.get()

    loop.run_until_complete(used())
    loop.close()
    ended = weakref.ref(loop)
    del loop
    asyncio.run(used())
    gc.collect()
    assert ended() is None
