"""Tenants in a `StateStore`: the part of its conformance kit that says that no two ever meet."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from ..identity import MemoryIdentity, namespace
from ..state.base import Record, StateKey, StateStore
from .identities import FAMILY, HOSTILE_PAIRS, descends, different_identities
from .kit import for_all

__all__ = [
    "ME",
    "fill",
    "forget_reaches_exactly_whom_it_names",
    "guessed_keys_reach_nothing",
    "key_of",
    "set_record",
    "tenants_never_meet",
    "the_operators_own_is_nobodys",
    "view",
]

ME = MemoryIdentity("kit", "alice", "t-1")


def key_of(name: str, identity: MemoryIdentity | None = ME) -> StateKey:
    return StateKey(identity, "kit", name)


async def set_record(
    store: StateStore, key: StateKey, expected: str | None, value: Any, **ttl: float
) -> Record:
    record = await store.compare_and_set(key, expected, value, **ttl)
    assert record is not None, "compare_and_set with the current version must write and return the record"
    return record


async def fill(store: StateStore, key: StateKey, text: str, total: int) -> Record:
    record = await set_record(store, key, None, text)
    await store.increment(key, total)
    await store.append(key, text)
    return record


async def view(store: StateStore, key: StateKey) -> tuple[Any, int | None, list[Any]]:
    """What a key shows: the record's value, the counter's total, the log's values."""
    record = await store.get(key)
    entries = await store.read(key)
    return (record and record.value, await store.increment(key, 0), [entry.value for entry in entries])


async def tenants_never_meet(store: StateStore) -> None:
    async def meet(pair: tuple[MemoryIdentity, MemoryIdentity]) -> None:
        me, them = pair
        mine, theirs = (key_of("same", identity) for identity in pair)
        for identity in pair:
            await store.forget(identity)
        record = await fill(store, mine, "mine", -5)

        async def untouched(what: str) -> None:
            assert await view(store, mine) == ("mine", -5, ["mine"]), f"{them} {what} what {me} wrote"

        assert await store.get(theirs) is None, f"{them} reads what {me} wrote"
        assert not await store.read(theirs), f"{them} reads the log of {me}"
        # Within the limit only for a counter that is below 0: theirs begins at 0.
        assert await store.increment(theirs, 1, limit=0) is None, f"{them} counts on from what {me} counted"
        stolen = await store.compare_and_set(theirs, record.version, "theirs")
        assert stolen is None, f"{them} replaced a record by the version of {me}'s"
        await store.delete(theirs)
        reached = not descends(me, them)
        assert await store.forget(them, descendants=reached) == 0, f"{them} counted what {me} wrote"
        await untouched("deleted")
        assert await store.compare_and_set(theirs, None, "theirs"), (
            f"a record of {me} kept {them} from making one"
        )
        assert await store.increment(theirs, 1) == 1, f"{them} counts on from what {me} counted"
        sequence = await store.append(theirs, "theirs")
        found = [(entry.sequence, entry.value) for entry in await store.read(theirs)]
        assert found == [(sequence, "theirs")], f"{them} reads the log of {me}"
        stolen = await store.compare_and_set(theirs, record.version, "stolen")
        assert stolen is None, f"{them} replaced a record by the version of {me}'s"
        assert await store.forget(them, descendants=reached) == 1, f"{them} counted keys that are not its own"
        # Nothing writes there again: what was taken or changed shows in this last look.
        await untouched("overwrote or forgot")
        assert await store.forget(me) == 1, f"{me} counted keys that are not its own"

    await for_all(different_identities(), meet, known=HOSTILE_PAIRS, examples=25)


async def guessed_keys_reach_nothing(store: StateStore) -> None:
    own = key_of("head")
    await fill(store, own, "mine", -5)
    space = namespace(ME)
    texts = ("head", own.encoded, space, f"{space}|kit/head", "kit/head", "../head", "*", "%", "h?ad", "")
    kinds = ("kit", own.encoded, f"{space}|kit", "*", "%")
    for identity in (None, MemoryIdentity(), MemoryIdentity("kit"), MemoryIdentity("other", "alice", "t-1")):
        for key in [StateKey(identity, kind, name) for kind in kinds for name in texts]:
            assert await store.get(key) is None, f"{key} reads what {own} holds"
            assert not await store.read(key), f"{key} reads the log of {own}"
            assert await store.increment(key, 1, limit=0) is None, f"{key} counts on from {own}"
        await store.delete(StateKey(identity, "kit", "head"))
    assert await view(store, own) == ("mine", -5, ["mine"]), "a guessed key changed what it must not reach"
    await store.delete(own)


async def the_operators_own_is_nobodys(store: StateStore) -> None:
    own = key_of("own", None)
    record = await fill(store, own, "operator", -2)
    for identity in FAMILY:
        theirs = key_of("own", identity)
        assert await store.get(theirs) is None, f"{identity} reads the operator's record"
        assert not await store.read(theirs), f"{identity} reads the operator's log"
        await store.forget(identity, descendants=True)
    for identity in (MemoryIdentity(), MemoryIdentity(""), MemoryIdentity("~~~"), ME):
        theirs = key_of("own", identity)
        assert await store.increment(theirs, 1, limit=0) is None, f"{identity} counts with the operator"
        assert await store.compare_and_set(theirs, record.version, 1) is None, (
            f"{identity} replaced the operator's record"
        )
        await store.delete(theirs)
        await fill(store, theirs, "theirs", 1)
    assert await view(store, own) == ("operator", -2, ["operator"]), (
        "what an identity did or forgot has reached the operator"
    )
    await store.delete(own)
    for identity in (MemoryIdentity(), MemoryIdentity(""), MemoryIdentity("~~~"), ME):
        assert await store.forget(identity) == 1, f"the operator deleted what {identity} holds"


async def _hold(store: StateStore, identity: MemoryIdentity, part: int) -> None:
    """Lets an identity have a record, a counter or a log."""
    key = key_of("family", identity)
    if part == 0:
        await set_record(store, key, None, "here")
    elif part == 1:
        await store.increment(key, -1000)
    else:
        await store.append(key, "here")


async def _holds(store: StateStore, identity: MemoryIdentity, part: int) -> bool:
    key = key_of("family", identity)
    if part == 0:
        return await store.get(key) is not None
    if part == 1:
        return await store.increment(key, 1, limit=0) is not None  # One that is absent begins at 0.
    return bool(await store.read(key))


async def forget_reaches_exactly_whom_it_names(store: StateStore) -> None:
    held: dict[MemoryIdentity, int] = {}
    parts = cycle(range(3))
    for descendants in (False, True):
        for target in FAMILY:
            for identity in set(FAMILY) - set(held):
                held[identity] = next(parts)
                await _hold(store, identity, held[identity])
            reached = {each for each in held if (descends(each, target) if descendants else each == target)}
            count = await store.forget(target, descendants=descendants)
            # Whoever was reached beside them is missing when their own turn comes, and in the end.
            assert count == len(reached), f"forget({target}, {descendants=}) says {count}, not {len(reached)}"
            spared = {each for each in reached if await _holds(store, each, held[each])}
            assert not spared, f"forget({target}, {descendants=}) spared {spared}"
            for each in reached:
                del held[each]
        left = {each for each, part in held.items() if await _holds(store, each, part)}
        assert left == set(held), f"forget also reached {set(held) - left}"
    for identity in held:
        await store.forget(identity)
